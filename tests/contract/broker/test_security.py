"""TLS and credentials, on real servers that insist on them."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import trustme
from confluent_kafka.admin import AclOperation, ResourceType

from orchestrator.broker.connection import connect
from orchestrator.broker.names import Access, Limits, Names
from orchestrator.engine.ports.queues import BrokerError
from tests.servers.kafka_server import PLAIN_PASSWORD, PLAIN_USER, KafkaServer
from tests.servers.nats_server import NatsServer
from tests.servers.ports import free_port
from tests.servers.rabbitmq_server import RabbitMQServer

LIMITS = Limits(call_seconds=20.0, connect_seconds=20.0)
REFUSED = Limits(connect_seconds=2.0)
"""Kafka is asked for as long as that whether it has changed its mind."""


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


async def kafka_reaches(url: str, prefix: str, access: Access, limits: Limits = LIMITS) -> None:
    names = Names(
        requests=f"{prefix}.requests", dead=f"{prefix}.dead", events=f"{prefix}.events", consumer=f"{prefix}.group"
    )
    async with connect(url, directory=Path("/unused"), names=names, limits=limits, access=access) as broker:
        await broker.check()
        await broker.request(b"{}")


def allow_all(server: KafkaServer, user: str, prefix: str) -> None:
    """Let a user do everything with its own topics."""
    server.allow(user, ResourceType.TOPIC, prefix, AclOperation.ALL, prefixed=True)


async def test_kafka_with_tls_and_password(kafka_server: KafkaServer, kafka_prefix: str) -> None:
    """Over TLS, by SCRAM or PLAIN, Kafka is reached with the right password, and refused with a wrong one untold."""
    user = await asyncio.to_thread(kafka_server.create_user, "hush hush")
    for name in (user, PLAIN_USER):
        await asyncio.to_thread(allow_all, kafka_server, name, kafka_prefix)
    known = Access(user=user, password="hush hush", ca_file=kafka_server.directory / "ca.pem")
    await kafka_reaches(kafka_server.tls_url, kafka_prefix, known)
    plain = replace(known, user=PLAIN_USER, password=PLAIN_PASSWORD, sasl_mechanism="PLAIN")
    await kafka_reaches(kafka_server.tls_url, kafka_prefix, plain)
    with pytest.raises(BrokerError, match=r"(?i)authentication") as caught:
        await kafka_reaches(kafka_server.tls_url, kafka_prefix, replace(known, password="hash hash"), REFUSED)
    assert "hash" not in str(caught.value)
    with pytest.raises(BrokerError, match=r"(?i)certificate"):
        await kafka_reaches(kafka_server.tls_url, kafka_prefix, replace(known, ca_file=None), REFUSED)
    other = kafka_server.directory / "other-ca.pem"
    with pytest.raises(BrokerError, match=r"(?i)certificate"):
        await kafka_reaches(kafka_server.tls_url, kafka_prefix, replace(known, ca_file=other), REFUSED)


async def test_kafka_with_a_certificate_of_ours(kafka_server: KafkaServer, kafka_prefix: str) -> None:
    """Where Kafka asks for a certificate, ours is shown, and names the user; without one it refuses."""
    folder = kafka_server.directory
    await asyncio.to_thread(allow_all, kafka_server, "orchestrator", kafka_prefix)
    ours = Access(ca_file=folder / "ca.pem", certificate_file=folder / "client.pem", key_file=folder / "client.key")
    await kafka_reaches(kafka_server.certificate_url, kafka_prefix, ours)
    unknown = Access(ca_file=folder / "ca.pem")
    with pytest.raises(BrokerError, match=r"(?i)failed"):
        await kafka_reaches(kafka_server.certificate_url, kafka_prefix, unknown, REFUSED)


async def test_kafka_with_the_user_in_the_address(kafka_server: KafkaServer, kafka_prefix: str) -> None:
    """User and password may stand in the address, escaped as addresses are."""
    user = await asyncio.to_thread(kafka_server.create_user, "h@sh")
    await asyncio.to_thread(allow_all, kafka_server, user, kafka_prefix)
    url = kafka_server.scram_url.replace("kafka://", f"kafka://{user}:h%40sh@")
    await kafka_reaches(url, kafka_prefix, Access(sasl_mechanism="SCRAM-SHA-256"))
