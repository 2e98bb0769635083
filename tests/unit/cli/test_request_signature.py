"""`orchestrator sign`."""

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from typer.testing import CliRunner

from orchestrator.cli.main import app
from orchestrator.engine.intake.senders import request_by
from tests.fakes.clock import START
from tests.unit.engine.intake.test_senders import KEYS, SENDERS, event, trigger


def key_file(folder: Path, key: Any, *, password: bytes = b"", mode: int = 0o600) -> Path:
    path = folder / "private.pem"
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
    path.chmod(mode)
    return path


def sign(key: Path, document: dict[str, Any]) -> tuple[int, str, str]:
    arguments = ["sign", "--key", str(key), "--key-id", "main"]
    result = CliRunner().invoke(app, arguments, input=json.dumps(document))
    return result.exit_code, result.stdout, result.stderr


@pytest.mark.parametrize("name", KEYS)
def test_what_it_prints_is_taken_as_the_senders(tmp_path: Path, name: str) -> None:
    """For each kind of key; the event's own time stays."""
    code, printed, _ = sign(key_file(tmp_path, KEYS[name]), event())
    assert code == 0
    assert request_by(SENDERS, trigger(json.loads(printed)), START)[1].name == f"queue:{name}"


def test_a_request_without_a_time_gets_the_present_one(tmp_path: Path) -> None:
    """A signature is good from then on, for a while."""
    document = event()
    del document["time"]
    code, printed, _ = sign(key_file(tmp_path, KEYS["org1"]), document)
    assert (code, json.loads(printed)["time"][-1]) == (0, "Z")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"mode": 0o644}, "others can read the secret"),
        ({"password": b"hush"}, "no private key in PEM without a password"),
        ({"key": ec.generate_private_key(ec.SECP384R1())}, "neither Ed25519 nor on the curve"),
        ({"key": rsa.generate_private_key(public_exponent=65537, key_size=2048)}, "neither Ed25519 nor on the curve"),
    ],
)
def test_a_key_that_is_of_no_use_is_told(tmp_path: Path, options: dict[str, Any], words: str) -> None:
    """What others can read, is encrypted, or is of another kind does not sign."""
    key = options.pop("key", KEYS["org1"])
    code, printed, said = sign(key_file(tmp_path, key, **options), event())
    assert (code > 0, printed) == (True, "")
    assert words in " ".join(said.split())


def test_a_request_that_is_not_valid_is_not_signed(tmp_path: Path) -> None:
    """What would be a dead letter is told here already."""
    code, printed, said = sign(key_file(tmp_path, KEYS["org1"]), event(data={"kind": "nothing"}))
    assert (code, printed) == (2, "")
    assert "data.kind" in said
