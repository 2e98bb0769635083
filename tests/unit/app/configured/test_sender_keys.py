import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from orchestrator.app.configured.sender_keys import SenderKeys
from orchestrator.engine.intake.senders import KeysAwayError


def written(path: Path) -> bytes:
    public = Ed25519PrivateKey.generate().public_key()
    renewed = path.with_name("renewed")
    renewed.write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    renewed.replace(path)
    return public.public_bytes_raw()


def raw(keys: SenderKeys) -> bytes:
    (found,) = keys.present().values()
    return found.public_bytes_raw()  # type: ignore[union-attr] # the test's own key


def test_keys_are_read_again_when_their_file_changes(tmp_path: Path) -> None:
    """A key that was replaced counts no more with the next message."""
    path = tmp_path / "org1.pem"
    first = written(path)
    keys = SenderKeys(path, "org1")
    assert (raw(keys), list(keys.present())) == (first, ["org1"])
    second = written(path)
    assert [raw(keys), raw(keys)] == [second, second]


@pytest.mark.parametrize("how", ["gone", "broken"])
def test_a_file_that_is_gone_or_broken_gives_no_keys(tmp_path: Path, how: str) -> None:
    """Not even those that it held: whoever takes a key out of it may have broken it in doing so."""
    path = tmp_path / "org1.pem"
    written(path)
    keys = SenderKeys(path, "org1")
    keys.present()
    os.unlink(path)
    if how == "broken":
        path.write_text("{}")
    for _ in range(2):
        with pytest.raises(KeysAwayError, match=r"org1\.pem"):
            keys.present()
