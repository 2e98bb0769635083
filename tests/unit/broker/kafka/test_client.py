"""What the Kafka client is told, and what its errors are told as."""

from pathlib import Path

import pytest
from confluent_kafka import KafkaError, KafkaException

from orchestrator.broker.kafka.client import Client
from orchestrator.broker.names import Access, Limits, Names
from orchestrator.engine.ports.queues import BrokerError, UnfitMessageError


def client(url: str = "kafka://127.0.0.1:1", access: Access | None = None) -> Client:
    return Client(url, Names(), Limits(), access or Access())


def test_several_servers_and_their_ports() -> None:
    """Servers are those of the address, with Kafka's own port where none is given."""
    servers = client("kafka://a,kafka://[::1]:9093").admin()["bootstrap.servers"]
    assert servers == "a:9092,[::1]:9093"


@pytest.mark.parametrize(
    ("url", "access", "protocol"),
    [
        ("kafka://a", Access(), "PLAINTEXT"),
        ("kafka://a", Access(user="me", password="hush"), "SASL_PLAINTEXT"),
        ("kafkas://a", Access(ca_file=Path("ca.pem")), "SSL"),
        ("kafkas://me:hush@a", Access(), "SASL_SSL"),
    ],
)
def test_the_address_and_the_user_choose_the_protocol(url: str, access: Access, protocol: str) -> None:
    """TLS is what the scheme says, SASL is used where there is a user; host names are always checked."""
    settings = client(url, access).admin()
    assert settings["security.protocol"] == protocol
    assert (settings.get("sasl.password") == "hush") == ("SASL" in protocol)
    assert (settings.get("ssl.endpoint.identification.algorithm") == "https") == url.startswith("kafkas")


def test_what_is_published_is_stored_by_all_and_once() -> None:
    """The producer is idempotent, waits for all replicas in sync, and puts keys where other clients put them."""
    settings = client().producer()
    assert (settings["enable.idempotence"], settings["acks"]) == (True, "all")
    assert settings["partitioner"] == "murmur2_random"


def test_nothing_is_committed_by_the_client_itself() -> None:
    """Only what is settled is committed, so the client must not do it."""
    assert client().member()["enable.auto.commit"] is False


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (KafkaException(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE)), UnfitMessageError),
        (KafkaException(KafkaError(KafkaError._TRANSPORT)), BrokerError),
        (TimeoutError(), BrokerError),
        (BufferError("full"), BrokerError),
    ],
)
def test_errors_become_broker_errors(error: Exception, kind: type[BrokerError]) -> None:
    """Whatever the client raises is told as one kind of error, with what was being done."""
    with pytest.raises(BrokerError, match=r"Kafka: asking failed: .") as caught, client().explained("asking"):
        raise error
    assert type(caught.value) is kind


def test_why_nothing_came_in_time_is_told() -> None:
    """What the network or a server said is told beside the time-out that it caused."""
    failing = client()
    failing.admin()["error_cb"](KafkaError(KafkaError._SSL, "certificate verify failed"))
    with (
        pytest.raises(BrokerError, match=r"no answer in time.*certificate verify failed"),
        failing.explained("asking"),
    ):
        raise TimeoutError
