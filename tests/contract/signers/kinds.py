"""Each kind of signer as the contract suite sees it: how it is configured, and how it is made to fail."""

import asyncio
import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trustme

from orchestrator.besu.key_services.pkcs11_token import _libraries
from orchestrator.config import AccountConfig
from tests.servers.http_signers import HttpSigner, KmsServer, Web3SignerServer, identifier_of
from tests.servers.softhsm import LABEL, PIN, SoftHsm

# Well-known public development keys, of 0xfe3b… and 0x6273…: never to hold anything of value.
KEY = bytes.fromhex("8f2a55949038a9610f50fb23b5883af3b4ecb3c3bb792cbcefbd1542c692be63")
ADDRESS = "0xfe3b557e8fb62b89f4916b721be55ceb828dbd73"
OTHER_KEY = bytes.fromhex("c87509a1c067bbde78beb793e6fa76530b6382a4c0241e5e4a9ec0a0f44dc0d3")
OTHER_ADDRESS = "0x627306090abab3a6e1400e9345bc60c78a8bef57"

TOKEN = "token-nobody-shall-see"
EXAMPLE = Path(__file__).parents[3] / "docs" / "examples" / "kms_signer"


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind whose keys are elsewhere.

    Attributes:
        settings: Its table in ``[[accounts]]``.
        folder: Where its files are.
        leave, come_back: Take it away, and bring it back.
        refuse, relent: Let it refuse to sign, and sign again.
        swap: Let it sign with another account's key from now on.
        hang, go_on: Let it answer nothing, and go on.
    """

    settings: dict[str, Any]
    folder: Path
    leave: Callable[[], None]
    come_back: Callable[[], None]
    refuse: Callable[[], None]
    relent: Callable[[], None]
    swap: Callable[[], None]
    hang: Callable[[], None]
    go_on: Callable[[], None]

    def account(self, **values: Any) -> AccountConfig:
        """Return the account as a configuration file has it."""
        given = {"address": ADDRESS, **self.settings, **values}
        return AccountConfig.model_validate(given, context={"folder": self.folder})


def secret_file(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o600)
    return path


@contextmanager
def web3signer(folder: Path) -> Iterator[Kind]:
    """Web3Signer over plain HTTP; its key is found in its list."""
    with Web3SignerServer(KEY) as server:
        yield _of_web3signer(server, folder, {"url": server.url})


@contextmanager
def web3signer_mutual_tls(folder: Path) -> Iterator[Kind]:
    """Web3Signer over HTTPS with client certificates, behind something that wants a token; its key is named."""

    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    ours = authority.issue_cert("orchestrator.example.org")
    ours.cert_chain_pems[0].write_to_path(folder / "client.pem")
    ours.private_key_pem.write_to_path(folder / "client.key")
    (folder / "client.key").chmod(0o600)
    secret_file(folder / "token", TOKEN)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    files = {"ca_file": "ca.pem", "certificate_file": "client.pem", "key_file": "client.key", "token_file": "token"}
    with Web3SignerServer(KEY, tls=context) as server:
        yield _of_web3signer(server, folder, {"url": server.url, "public_key": identifier_of(KEY), **files})
        assert set(server.authorizations) <= {f"Bearer {TOKEN}"}


def _of_web3signer(server: Web3SignerServer, folder: Path, table: dict[str, Any]) -> Kind:
    return Kind(
        settings={"web3signer": table},
        folder=folder,
        refuse=server.keys.clear,
        relent=lambda: server.keys.update(server.loaded),
        swap=lambda: server.keys.update({identifier_of(KEY): OTHER_KEY}),
        **_by_http(server),
    )


@contextmanager
def kms(folder: Path) -> Iterator[Kind]:
    """The documented example of an installed signer; see `installed_example`."""
    with KmsServer(TOKEN, owner=KEY) as server:
        settings = {"url": server.url, "key_id": "owner", "token_file": str(secret_file(folder / "token", TOKEN))}
        yield Kind(
            settings={"installed": {"name": "kms", "settings": settings}},
            folder=folder,
            refuse=lambda: server.disabled.add("owner"),
            relent=server.disabled.clear,
            swap=lambda: server.keys.update(owner=OTHER_KEY),
            **_by_http(server),
        )


def _by_http(server: HttpSigner) -> dict[str, Callable[[], None]]:
    def delay(seconds: float) -> None:
        server.delay_seconds = seconds

    return {
        "leave": server.kill,
        "come_back": server.start,
        "hang": lambda: delay(60),
        "go_on": lambda: delay(0),
    }


def installed_example(folder: Path) -> Path:
    """Install the documented example as an operator does, and return where to."""
    source = folder / "source"
    source.mkdir()
    for file in EXAMPLE.iterdir():
        if file.is_file():
            (source / file.name).write_bytes(file.read_bytes())
    offline = ("--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "--quiet")
    target = folder / "installed"
    command = [sys.executable, "-m", "pip", "install", *offline, "--target", str(target), str(source)]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "PIP_NO_INPUT": "1"})
    return target


@contextmanager
def softhsm(hsm: SoftHsm, folder: Path) -> Iterator[Kind]:
    """A key in SoftHSM."""
    pin = secret_file(folder / "pin", PIN + "\n")
    library = _libraries
    held: list[Callable[[], None]] = []

    def hang() -> None:
        turn = library[hsm.module].in_use
        turn.acquire()
        held.append(turn.release)

    def go_on() -> None:
        while held:
            held.pop()()

    def refuse() -> None:
        secret_file(pin, "wrong-pin")
        hsm.end_sessions()

    def relent() -> None:
        secret_file(pin, PIN)

    hsm.plug()
    try:
        yield Kind(
            settings={
                "pkcs11": {"module": str(hsm.module), "token": LABEL, "key_label": "owner", "pin_file": str(pin)},
            },
            folder=folder,
            leave=hsm.unplug,
            come_back=hsm.plug,
            refuse=refuse,
            relent=relent,
            swap=lambda: _swap(hsm),
            hang=hang,
            go_on=go_on,
        )
    finally:
        go_on()
        for thread in threads_of_tokens():
            thread.join(10)  # what nobody waits for any more: sessions must not end under it
        hsm.plug()
        hsm.end_sessions()


def _swap(hsm: SoftHsm) -> None:
    hsm.rename("owner", "before")
    hsm.rename("other", "owner")


async def in_thread(work: Callable[[], None]) -> None:
    """Do what blocks beside the event loop."""
    await asyncio.to_thread(work)


def threads_of_tokens() -> list[threading.Thread]:
    """Return the threads that call tokens now."""
    return [thread for thread in threading.enumerate() if thread.name == "pkcs11"]
