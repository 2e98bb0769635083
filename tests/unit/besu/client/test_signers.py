import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.besu.client.signer_ports import SignerError
from orchestrator.besu.client.signers import signer_from_key, signer_from_key_file, signer_from_keystore
from orchestrator.besu.codec.private_transaction import (
    PrivateTransaction,
    decode_private_transaction,
    unsigned_private_transaction,
)

# A well-known development key: everybody has it.
KEY = "8f2a55949038a9610f50fb23b5883af3b4ecb3c3bb792cbcefbd1542c692be63"
ADDRESS = "0xfe3b557e8fb62b89f4916b721be55ceb828dbd73"
PASSWORD = "correct horse"

MAKE_KEYSTORE = """
import json, sys
from eth_account import Account
print(json.dumps(Account.encrypt(sys.argv[1], sys.argv[2], kdf="pbkdf2", iterations=1)))
"""

# Keystore V3 by hand: libraries make none of a shorter secret.
MAKE_SHORT_KEYSTORE = """
import hashlib, json, sys
from eth_keyfile.keyfile import encrypt_aes_ctr, keccak
secret, salt, iv = bytes.fromhex(sys.argv[1]), b"salt" * 8, b"vector" * 2 + b"1234"
derived = hashlib.pbkdf2_hmac("sha256", b"", salt, 1, 32)
text = encrypt_aes_ctr(secret, derived[:16], int.from_bytes(iv, "big"))
crypto = {
    "cipher": "aes-128-ctr", "cipherparams": {"iv": iv.hex()}, "ciphertext": text.hex(), "kdf": "pbkdf2",
    "kdfparams": {"c": 1, "dklen": 32, "prf": "hmac-sha256", "salt": salt.hex()},
    "mac": keccak(derived[16:] + text).hex(),
}
print(json.dumps({"version": "3", "address": sys.argv[2], "crypto": crypto}))
"""

NESTED_JSON = """
import sys
from pathlib import Path
from orchestrator.besu.errors import ProtocolError
from orchestrator.besu.codec.json_rpc import decode_answer
from orchestrator.besu.client.signers import signer_from_keystore
signer_from_keystore(Path(sys.argv[1]), Path(sys.argv[2]))
try:
    decode_answer("[" * 1_000_000, 1)
except ProtocolError:
    print("refused")
"""


def secret_file(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


@pytest.fixture(scope="module")
def keystore(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A keystore file of the development account, made in another process."""
    made = subprocess.run([sys.executable, "-c", MAKE_KEYSTORE, KEY, PASSWORD], check=True, capture_output=True)
    path = tmp_path_factory.mktemp("keys") / "keystore.json"
    path.write_bytes(made.stdout)
    return path


async def test_a_signer_signs_as_its_account() -> None:
    """What a signer signs recovers to its address."""
    signer = signer_from_key(KEY)
    unsigned = unsigned_private_transaction(
        PrivateTransaction(
            private_nonce=1,
            private_from="BULeR8JyUWhiuuCMU/HLA0Q5pzkYT+cHII3ZKBey3Bo=",
            to="0x" + "00" * 19 + "7c",
            privacy_group_id="DyAOiF/ynpc+JXa2YAGB0bCitSlOMNm+ShmB/7M6C4w=",
            chain_id=1337,
        )
    )
    assert signer.address == ADDRESS
    assert decode_private_transaction(unsigned.signed(await signer.sign(unsigned.message))).sender == ADDRESS


def test_a_key_is_never_shown() -> None:
    """Neither the representation nor a pickle gives the key away."""
    signer = signer_from_key(KEY)
    assert KEY not in repr(signer)
    assert KEY not in repr(vars(type(signer)))
    with pytest.raises(TypeError):
        pickle.dumps(signer)


@pytest.mark.parametrize("text", [KEY, "0x" + KEY, f"  {KEY}\n"])
def test_a_key_file_is_read(tmp_path: Path, text: str) -> None:
    """A key file may start with 0x and end with a line break."""
    path = secret_file(tmp_path / "key", text)
    assert signer_from_key_file(path, expected_address=ADDRESS.upper().replace("X", "x")).address == ADDRESS


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660])
def test_a_key_file_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    """The message says which mode it has and how to mend it."""
    path = secret_file(tmp_path / "key", KEY, mode)
    with pytest.raises(SignerError, match=f"chmod 600 {path}"):
        signer_from_key_file(path)


@pytest.mark.parametrize("text", ["", "hello", KEY[:-2], KEY + KEY, "0" * 64, "\x00" * 70_000])
def test_a_file_without_a_key_is_refused_without_being_shown(tmp_path: Path, text: str) -> None:
    """A file with something else names the file, and shows nothing of it."""
    path = secret_file(tmp_path / "key", text)
    with pytest.raises(SignerError, match=str(path)) as refusal:
        signer_from_key_file(path)
    assert not text or text not in str(refusal.value)
    assert refusal.value.__cause__ is None


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """A file that is not there is named with the reason."""
    with pytest.raises(SignerError, match="No such file"):
        signer_from_key_file(tmp_path / "nowhere")


def test_the_key_of_another_account_is_refused(tmp_path: Path) -> None:
    """A key that does not belong to the configured address is refused before anything is signed."""
    path = secret_file(tmp_path / "key", KEY)
    with pytest.raises(SignerError, match="not of 0x627306090abab3a6e1400e9345bc60c78a8bef57"):
        signer_from_key_file(path, expected_address="0x627306090abab3a6e1400e9345bc60c78a8bef57")


def test_what_is_no_key_is_refused() -> None:
    """Keys in memory are checked as those in files."""
    for key in ("", "zz", b"short"):
        with pytest.raises(SignerError):
            signer_from_key(key)


def test_a_keystore_is_opened_with_its_password(tmp_path: Path, keystore: Path) -> None:
    """A keystore and the file with its password give the account."""
    password = secret_file(tmp_path / "password", PASSWORD + "\n")
    assert signer_from_keystore(keystore, password, expected_address=ADDRESS).address == ADDRESS


def test_a_wrong_password_is_refused(tmp_path: Path, keystore: Path) -> None:
    """The message names both files and shows no password."""
    password = secret_file(tmp_path / "password", "wrong one")
    with pytest.raises(SignerError, match="cannot be opened") as refusal:
        signer_from_keystore(keystore, password)
    assert "wrong one" not in str(refusal.value)


@pytest.mark.parametrize(
    "text", ["", "no json", "[]", "{}", '{"version": 3}', json.dumps({"version": 9, "crypto": {}})]
)
def test_what_is_no_keystore_is_refused(tmp_path: Path, text: str) -> None:
    """A file that is no keystore of version 3 is named."""
    password = secret_file(tmp_path / "password", PASSWORD)
    path = secret_file(tmp_path / "keystore", text)
    with pytest.raises(SignerError, match=str(path)):
        signer_from_keystore(path, password)


def test_opening_a_keystore_leaves_nested_json_harmless(tmp_path: Path, keystore: Path) -> None:
    """The library that opens keystores raises the recursion limit, with which nested JSON would crash the process."""
    password = secret_file(tmp_path / "password", PASSWORD)
    ran = subprocess.run(
        [sys.executable, "-c", NESTED_JSON, str(keystore), str(password)], check=False, capture_output=True, text=True
    )
    assert (ran.returncode, ran.stdout) == (0, "refused\n")


def test_a_keystore_whose_maker_dropped_zeros_is_opened(tmp_path: Path) -> None:
    """A secret of 31 bytes is a key that began with a zero when the named account comes out, and no other.

    The empty password is one; a version written as text, and a byte order mark, are those of some makers.
    """
    key = bytes.fromhex("00" + KEY[2:])
    address = signer_from_key(key).address
    asked = [sys.executable, "-c", MAKE_SHORT_KEYSTORE, key[1:].hex(), address.removeprefix("0x")]
    made = subprocess.run(asked, check=True, capture_output=True)
    path, password = tmp_path / "keystore.json", secret_file(tmp_path / "password", "")
    path.write_bytes(b"\xef\xbb\xbf" + made.stdout)
    assert signer_from_keystore(path, password, expected_address=address).address == address
    assert signer_from_keystore(path, password).address == address
    with pytest.raises(SignerError, match=f"not of {ADDRESS}"):
        signer_from_keystore(path, password, expected_address=ADDRESS)
    longer = subprocess.run([*asked[:3], "0000" + key[1:].hex(), *asked[4:]], check=True, capture_output=True)
    path.write_text(longer.stdout.decode().replace('"version"', '"Version"'))
    assert signer_from_keystore(path, password, expected_address=address).address == address
    path.write_text(made.stdout.decode().replace(address.removeprefix("0x"), ADDRESS))
    with pytest.raises(SignerError, match=f"not of {ADDRESS}"):
        signer_from_keystore(path, password)


def test_marks_and_line_breaks_of_editors_are_no_part_of_a_key(tmp_path: Path) -> None:
    """A byte order mark or line breaks around a key do no harm; UTF-16 is named with what to do."""
    path = secret_file(tmp_path / "key", "")
    path.write_bytes(b"\xef\xbb\xbf" + KEY.encode() + b"\r\n")
    assert signer_from_key_file(path).address == ADDRESS
    assert signer_from_key(KEY + "\n").address == ADDRESS
    path.write_bytes(KEY.encode("utf-16"))
    with pytest.raises(SignerError, match="written in UTF-16: write it again as UTF-8"):
        signer_from_key_file(path)
