"""Web3Signer in particular: what each answer means, how its key is found, and TLS."""

import asyncio
import json
import ssl
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import trustme
from aiohttp import web
from coincurve import PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from eth_hash.auto import keccak

from orchestrator.app.configured.accounts import opened_account
from orchestrator.besu import Signer, SignerAwayError, SignerError, SignerRefusedError, WrongSignatureError
from orchestrator.besu.codec.account_signatures import sign_digest
from orchestrator.config import AccountConfig
from tests.contract.signers.kinds import ADDRESS, KEY, OTHER_KEY, in_thread, secret_file
from tests.patience import patient
from tests.servers.http_signers import ORDER, Web3SignerServer, identifier_of

MESSAGE = b"\xf8 what is signed"
RIGHT = sign_digest(keccak(MESSAGE), KEY)
OF_OTHER = sign_digest(keccak(MESSAGE), OTHER_KEY)
OF_ANOTHER_MESSAGE = sign_digest(keccak(b"another"), KEY)


def hexadecimal(r: int, s: int, v: bytes) -> str:
    return "0x" + (r.to_bytes(32) + s.to_bytes(32) + v).hex()


@pytest.fixture
def server() -> Iterator[Web3SignerServer]:
    with Web3SignerServer(OTHER_KEY, KEY) as started:
        yield started


def account(server: Web3SignerServer, folder: Path | None = None, **table: Any) -> AccountConfig:
    given = {"address": ADDRESS, "web3signer": {"url": server.url, **table}, "sign_timeout_seconds": 5}
    return AccountConfig.model_validate(given, context={"folder": folder} if folder is not None else None)


async def refusal(signer: Signer) -> SignerError:
    with pytest.raises(SignerError) as caught:
        await signer.sign(MESSAGE)
    return caught.value


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (301, SignerRefusedError),
        (400, SignerRefusedError),
        (401, SignerRefusedError),
        (403, SignerRefusedError),
        (404, SignerRefusedError),
        (408, SignerAwayError),
        (413, SignerRefusedError),
        (425, SignerAwayError),
        (429, SignerAwayError),
        (500, SignerAwayError),
        (502, SignerAwayError),
        (503, SignerAwayError),
        (504, SignerAwayError),
    ],
)
async def test_each_status_has_its_meaning(server: Web3SignerServer, status: int, kind: type[SignerError]) -> None:
    """What an operator has to mend is a refusal, what passes is not; the status and whose key it was are told."""
    server.misbehaves = lambda _: web.Response(status=status, text="token=hidden", headers={"Location": "http://x/"})
    async with opened_account(account(server)) as signer:
        said = await refusal(signer)
        server.misbehaves = None
        assert await signer.sign(MESSAGE) == RIGHT
    assert type(said) is kind
    assert f"HTTP {status}" in str(said)
    assert ADDRESS in str(said)
    assert "hidden" not in str(said)


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "0x",
        "signature",
        "<html>welcome</html>",
        "0x" + "00" * 65,
        "0x" + "ff" * 65,
        "0x" + "ff" * 64,
        hexadecimal(RIGHT.r, RIGHT.s, b"")[:-2],
        hexadecimal(RIGHT.r, RIGHT.s, b"\x1b\x1b"),
        hexadecimal(RIGHT.s, RIGHT.r, b"\x1b"),
        hexadecimal(OF_OTHER.r, OF_OTHER.s, b"\x1b"),
        hexadecimal(OF_ANOTHER_MESSAGE.r, OF_ANOTHER_MESSAGE.s, b"\x1b"),
        hexadecimal(0, RIGHT.s, b"\x1b"),
        hexadecimal(RIGHT.r, 0, b"\x1b"),
        hexadecimal(RIGHT.r, ORDER, b"\x1b"),
        "0x" + "30440220" + "11" * 32 + "0220" + "22" * 32,
        "0x" + "30" * 70,
        "0x" + "11" * 5_000,
    ],
)
async def test_what_is_no_signature_of_the_account_is_refused(server: Web3SignerServer, answer: str) -> None:
    """Whatever else comes with a status of success, a signature of others or of another message included, is told."""
    server.misbehaves = lambda _: web.Response(text=answer)
    async with opened_account(account(server)) as signer:
        said = await refusal(signer)
        assert type(said) is WrongSignatureError
        assert str(server.port) in str(said)
        server.misbehaves = None
        assert await signer.sign(MESSAGE) == RIGHT


@pytest.mark.parametrize("v", [b"", b"\x00", b"\x01", b"\x1b", b"\x1c", b"\x25", b"\xff"])
@pytest.mark.parametrize("s", [RIGHT.s, ORDER - RIGHT.s])
async def test_v_and_s_are_made_ethereums(server: Web3SignerServer, v: bytes, s: int) -> None:
    """However v is written, and whichever s it is, the same signature comes out."""
    server.misbehaves = lambda _: web.Response(text=hexadecimal(RIGHT.r, s, v))
    async with opened_account(account(server)) as signer:
        assert await signer.sign(MESSAGE) == RIGHT


async def test_its_key_is_found_in_the_list(server: Web3SignerServer) -> None:
    """Without the public key the account's is looked for, once; with it nothing is looked for."""
    async with opened_account(account(server)) as signer:
        assert [await signer.sign(MESSAGE) for _ in range(3)] == [RIGHT] * 3
    server.keys = {identifier_of(KEY): KEY}
    async with opened_account(account(server, public_key=identifier_of(KEY).upper().replace("X", "x"))) as signer:
        assert await signer.sign(MESSAGE) == RIGHT


def reload_keys(server: Web3SignerServer) -> None:
    request = urllib.request.Request(f"{server.url}/reload", method="POST")  # noqa: S310 - the server is ours
    urllib.request.urlopen(request).close()  # noqa: S310 - the server is ours


async def test_a_key_that_is_not_loaded_is_asked_for_again(server: Web3SignerServer) -> None:
    """It is refused while it is not there, and found after a reload, with and without the public key."""
    tables: tuple[dict[str, Any], ...] = ({}, {"public_key": identifier_of(KEY)})
    for table in tables:
        async with opened_account(account(server, **table)) as signer:
            assert await signer.sign(MESSAGE) == RIGHT
            del server.keys[identifier_of(KEY)]
            assert "/reload" in str(await refusal(signer))
            assert "/reload" in str(await refusal(signer))
            await in_thread(lambda: reload_keys(server))
            assert await signer.sign(MESSAGE) == RIGHT


async def test_a_list_that_is_none_is_told(server: Web3SignerServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Something else behind the address, or a list with anything in it, ends nothing."""
    for keys in ({"nothing": b"", "0x12": b"", "0x" + "00" * 64: b""}, {}):
        server.keys = keys
        async with opened_account(account(server)) as signer:
            assert type(await refusal(signer)) is SignerRefusedError


async def test_no_more_than_configured_are_asked_at_once(server: Web3SignerServer) -> None:
    """Of many signatures that are wanted, so many are under way at a time."""

    server.delay_seconds = 0.03
    configured = account(server, public_key=identifier_of(KEY)).model_copy(update={"sign_at_once": 3})
    async with opened_account(configured) as signer:
        signed = await asyncio.gather(*(signer.sign(MESSAGE) for _ in range(12)))
    assert signed == [RIGHT] * 12
    assert server.asked == 12
    assert server.most_at_once <= 3


async def test_a_connection_that_breaks_amid_an_answer_is_no_answer(server: Web3SignerServer) -> None:
    """A server that dies while it signs is away, and the signature is asked for anew when it is back."""

    server.delay_seconds = 60
    async with opened_account(account(server)) as signer:
        asking = asyncio.ensure_future(signer.sign(MESSAGE))
        async with asyncio.timeout(patient(10)):
            while server.asked == 0:  # noqa: ASYNC110 - the server is in another thread
                await asyncio.sleep(0.01)
        await in_thread(server.kill)
        with pytest.raises(SignerAwayError):
            await asking
        await in_thread(server.start)
        assert await signer.sign(MESSAGE) == RIGHT


def authority(folder: Path, name: str) -> trustme.CA:
    made = trustme.CA()
    made.cert_pem.write_to_path(folder / f"{name}.pem")
    ours = made.issue_cert("orchestrator.example.org")
    ours.cert_chain_pems[0].write_to_path(folder / f"{name}-client.pem")
    ours.private_key_pem.write_to_path(folder / f"{name}-client.key")
    (folder / f"{name}-client.key").chmod(0o600)
    return made


async def test_only_the_right_certificates_are_used(tmp_path: Path) -> None:
    """A server of another authority gets no request, one that does not take our certificate none either; a renewed
    certificate is used at once."""
    right, _ = authority(tmp_path, "right"), authority(tmp_path, "wrong")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    right.issue_cert("localhost").configure_cert(context)
    right.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED

    def client(name: str) -> dict[str, str]:
        return {"certificate_file": f"{name}-client.pem", "key_file": f"{name}-client.key"}

    with Web3SignerServer(KEY, tls=context) as server:
        for table, kind, what in (
            ({"ca_file": "wrong.pem", **client("right")}, SignerRefusedError, "ca_file"),
            ({"ca_file": "right.pem", **client("wrong")}, SignerAwayError, "take our certificate"),
            ({"ca_file": "right.pem"}, SignerAwayError, "take our certificate"),
        ):
            async with opened_account(account(server, tmp_path, **table)) as signer:
                said = await refusal(signer)
                assert type(said) is kind, said
                assert what in str(said)
        assert server.asked == 0
        ours = [tmp_path / f"right-client.{kind}" for kind in ("pem", "key")]
        kept = [path.read_bytes() for path in ours]
        for path, name in zip(ours, ("wrong-client.pem", "wrong-client.key"), strict=True):
            path.write_bytes((tmp_path / name).read_bytes())
        async with opened_account(account(server, tmp_path, ca_file="right.pem", **client("right"))) as signer:
            assert type(await refusal(signer)) is SignerAwayError
            for path, content in zip(ours, kept, strict=True):
                path.write_bytes(content)  # renewed: no restart is needed
            assert await signer.sign(MESSAGE) == RIGHT
        async with opened_account(account(server, tmp_path, ca_file="right.pem", **client("right"))) as signer:
            assert await signer.sign(MESSAGE) == RIGHT


@pytest.mark.parametrize("other", [True, False])
async def test_certificates_that_do_not_belong_together_end_the_start(tmp_path: Path, other: bool) -> None:
    """They are a mistake of the configuration, and so is an encrypted key, whose password nobody is asked for."""
    authority(tmp_path, "one"), authority(tmp_path, "two")
    if not other:
        key = load_pem_private_key((tmp_path / "one-client.key").read_bytes(), None)
        encrypted = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"password"))
        (tmp_path / "two-client.key").write_bytes(encrypted)
    table = {"url": "https://localhost:1", "certificate_file": "one-client.pem", "key_file": "two-client.key"}
    given = AccountConfig.model_validate({"address": ADDRESS, "web3signer": table}, context={"folder": tmp_path})
    with pytest.raises(SignerError, match="belong together" if other else "the key is encrypted"):
        async with opened_account(given):
            raise AssertionError("it opened")


async def test_a_token_that_can_not_be_read_is_told(server: Web3SignerServer, tmp_path: Path) -> None:
    """A token file that vanished is a refusal; once it is back, and with another token, that one is sent."""
    token = secret_file(tmp_path / "token", "first")
    async with opened_account(account(server, tmp_path, token_file="token")) as signer:
        assert await signer.sign(MESSAGE) == RIGHT
        token.unlink()
        assert "token file" in str(await refusal(signer))
        secret_file(token, "second-token")
        assert await signer.sign(MESSAGE) == RIGHT
    assert server.authorizations == ["Bearer first", "Bearer second-token"]


async def test_the_emulation_is_as_web3signers_description(server: Web3SignerServer) -> None:
    """Upcheck, list, signing of hexadecimal with and without prefix, and the statuses 400 and 404."""

    async with aiohttp.ClientSession(server.url) as session:
        async with session.get("/upcheck") as answer:
            assert (answer.status, await answer.text()) == (200, "OK")
        async with session.get("/api/v1/eth1/publicKeys") as answer:
            assert await answer.json() == [identifier_of(OTHER_KEY), identifier_of(KEY)]
        path = f"/api/v1/eth1/sign/{identifier_of(KEY)[2:]}"
        for data in ("0x" + MESSAGE.hex(), MESSAGE.hex()):
            async with session.post(path, json={"data": data}) as answer:
                text = await answer.text()
                assert (answer.status, answer.content_type, len(text)) == (200, "text/plain", 132)
                compact = bytes.fromhex(text[2:130]) + bytes([int(text[130:], 16) - 27])
                found = PrivateKey(KEY).public_key.from_signature_and_message(compact, keccak(MESSAGE), hasher=None)
                assert found == PrivateKey(KEY).public_key
        for body in ("", "{}", json.dumps({"data": ""}), json.dumps({"data": "0xzz"}), json.dumps({"data": 5}), "[1]"):
            async with session.post(path, data=body) as answer:
                assert answer.status == 400
        async with session.post("/api/v1/eth1/sign/0x12", json={"data": "0x01"}) as answer:
            assert answer.status == 404


async def test_a_restart_between_two_signatures_is_not_noticed(server: Web3SignerServer) -> None:
    """A connection that was kept open and ended meanwhile costs no try."""
    async with opened_account(account(server)) as signer:
        assert await signer.sign(MESSAGE) == RIGHT
        await in_thread(server.kill)
        await in_thread(server.start)
        assert await signer.sign(MESSAGE) == RIGHT
