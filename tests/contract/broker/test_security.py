"""TLS and credentials, on real servers that insist on them."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from orchestrator.broker.connecting import connect
from orchestrator.broker.names import Access, Limits
from orchestrator.engine.ports import BrokerError
from tests.servers.nats_server import NatsServer
from tests.servers.ports import free_port
from tests.servers.rabbitmq_server import RabbitMQServer

LIMITS = Limits(connect_seconds=2.0)


@dataclass(frozen=True)
class Certificates:
    """An authority of the test's own, a server's and a client's certificate."""

    directory: Path

    def __post_init__(self) -> None:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(self.directory / "ca.pem"))
        for name, issued in (
            ("server", authority.issue_cert("127.0.0.1", "localhost")),
            ("client", authority.issue_cert("orchestrator")),
        ):
            issued.private_key_pem.write_to_path(str(self.directory / f"{name}.key"))
            for pem in issued.cert_chain_pems:
                pem.write_to_path(str(self.directory / f"{name}.pem"), append=True)

    def access(self, user: str, password: str) -> Access:
        folder = self.directory
        return Access(
            user=user,
            password=password,
            ca_file=folder / "ca.pem",
            certificate_file=folder / "client.pem",
            key_file=folder / "client.key",
        )


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path)


@pytest.fixture
def nats_with_tls(certificates: Certificates) -> Iterator[NatsServer]:
    folder = certificates.directory
    settings = f"""
    tls {{
        cert_file: "{folder}/server.pem", key_file: "{folder}/server.key",
        ca_file: "{folder}/ca.pem", verify: true
    }}
    authorization {{ user: "me", password: "hush" }}
    """
    with NatsServer(settings=settings) as server:
        yield server


async def reaches(url: str, access: Access) -> None:
    async with connect(url, directory=Path("/unused"), limits=LIMITS, access=access) as broker:
        await broker.check()
        await broker.request(b"{}")


async def test_nats_with_tls_and_password(nats_with_tls: NatsServer, certificates: Certificates) -> None:
    """With the authority, our certificate and the password NATS is reached."""
    await reaches(nats_with_tls.url.replace("nats:", "tls:"), certificates.access(user="me", password="hush"))


async def test_nats_with_a_wrong_password_is_refused(nats_with_tls: NatsServer, certificates: Certificates) -> None:
    """A wrong password is an error that says so, and does not tell it."""
    with pytest.raises(BrokerError, match="Authorization") as caught:
        await reaches(nats_with_tls.url.replace("nats:", "tls:"), certificates.access(user="me", password="hash"))
    assert "hash" not in str(caught.value)


async def test_nats_of_another_authority_is_refused(nats_with_tls: NatsServer) -> None:
    """A server whose certificate does not descend from a known authority is not talked to."""
    with pytest.raises(BrokerError, match=r"(?i)certificate"):
        await reaches(nats_with_tls.url.replace("nats:", "tls:"), Access(user="me", password="hush"))


async def test_nats_with_a_token() -> None:
    """A token is presented; without it the server refuses."""
    with NatsServer(settings='authorization { token: "hush" }') as server:
        await reaches(server.url, Access(token="hush"))
        with pytest.raises(BrokerError, match="Authorization"):
            await reaches(server.url, Access())


async def test_rabbitmq_with_tls_and_password(certificates: Certificates) -> None:
    """Over TLS with the authority and the right password RabbitMQ is reached, else refused."""
    folder = certificates.directory
    folder.chmod(0o755)
    port = free_port()
    settings = f"""
listeners.ssl.default = 127.0.0.1:{port}
ssl_options.cacertfile = {folder}/ca.pem
ssl_options.certfile = {folder}/server.pem
ssl_options.keyfile = {folder}/server.key
ssl_options.verify = verify_peer
ssl_options.fail_if_no_peer_cert = true
"""
    server = RabbitMQServer(settings=settings)
    await asyncio.to_thread(server.__enter__)
    try:
        url = f"amqps://127.0.0.1:{port}/"
        await reaches(url, certificates.access(user="guest", password="guest"))
        with pytest.raises(BrokerError, match=r"(?i)refused|authentication"):
            await reaches(url, certificates.access(user="guest", password="wrong"))
        with pytest.raises(BrokerError, match=r"(?i)certificate"):
            await reaches(url, Access(user="guest", password="guest"))
    finally:
        await asyncio.to_thread(server.close)
