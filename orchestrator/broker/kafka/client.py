"""What the Kafka client is told: servers, credentials and bounds; and what it raises, as errors of ours."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from confluent_kafka import KafkaError, KafkaException

from orchestrator.broker.names import Access, Limits, Names
from orchestrator.engine.ports.queues import BrokerError, UnfitMessageError
from orchestrator.outside_text import presentable

QUEUE: Final = "Kafka"
MAX_MESSAGE_BYTES: Final = 16 * 1024 * 1024

_PORT: Final = 9092
_LEAST_SESSION_SECONDS: Final = 6.0
"""A server takes no shorter session unless told otherwise (`group.min.session.timeout.ms`)."""
_REMEMBERED_SECONDS: Final = 30.0
_QUIET: Final = 2
_ALL_BROKERS_DOWN: Final = -187

Settings = dict[str, Any]


class Client:
    """Settings that all connections of one daemon share.

    Args:
        url: ``kafka://host:port`` or ``kafkas://…`` (TLS), several separated by commas.
        names: Names; the consumer's is that of the group.
        limits: Bounds.
        access: Credentials and certificates.
    """

    def __init__(self, url: str, names: Names, limits: Limits, access: Access) -> None:
        self._said = ""
        self._said_at = 0.0
        # The client knows one user for all servers: that of the first address.
        servers = [urlsplit(server) for server in url.split(",")]
        first = servers[0]
        user = unquote(first.username) if first.username is not None else access.user
        password = unquote(first.password) if first.password is not None else access.password
        self._common: Settings = {
            "bootstrap.servers": ",".join(f"{_host(server.hostname)}:{server.port or _PORT}" for server in servers),
            "client.id": names.consumer,
            "security.protocol": ("SASL_" if user is not None else "") + ("SSL" if _is_tls(url) else "PLAINTEXT"),
            "socket.connection.setup.timeout.ms": max(1000, int(limits.connect_seconds * 1000)),
            "socket.timeout.ms": max(1000, int(limits.call_seconds * 1000)),
            "reconnect.backoff.ms": 50,
            "reconnect.backoff.max.ms": max(100, int(limits.reconnect_seconds * 1000)),
            "log_level": _QUIET,  # what it would write to standard error is told by its error callback as well
            "error_cb": self._on_error,
        }
        if user is not None:
            self._common |= {
                "sasl.mechanism": access.sasl_mechanism,
                "sasl.username": user,
                "sasl.password": password or "",
            }
        if _is_tls(url):
            self._common |= _tls(access)
        self._group = names.consumer
        self._limits = limits

    def producer(self) -> Settings:
        """Return the settings of who publishes: each message once and in order, stored by all replicas in sync."""
        return self._common | {
            # A retry of the client's own is not stored twice, and does not overtake what was sent after it.
            "enable.idempotence": True,
            "acks": "all",
            "linger.ms": 0,
            "message.timeout.ms": max(100, int(self._limits.call_seconds * 1000)),
            "message.max.bytes": MAX_MESSAGE_BYTES,  # the server's own bound counts
            "partitioner": "murmur2_random",  # as the clients of others: one key, one partition, whoever sends
        }

    def admin(self) -> Settings:
        """Return the settings of who asks about topics."""
        return dict(self._common)

    def reader(self) -> Settings:
        """Return the settings of who reads by itself, beside the group: nothing is committed."""
        return self._common | {
            "group.id": self._group,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
            # Else 64 MiB are fetched ahead, of which most may go to another member unread.
            "queued.max.messages.kbytes": 2 * MAX_MESSAGE_BYTES // 1024,
        }

    def member(self) -> Settings:
        """Return the settings of a member of the group that shares the requests."""
        session = max(_LEAST_SESSION_SECONDS, self._limits.ack_wait.total_seconds())
        return self.reader() | {
            "enable.partition.eof": False,
            # A replica that comes or goes takes only the partitions away that move: the others go on.
            "partition.assignment.strategy": "cooperative-sticky",
            "session.timeout.ms": int(session * 1000),
            "heartbeat.interval.ms": int(session * 1000 / 3),
            "queued.min.messages": 1000,
        }

    @contextmanager
    def explained(self, doing: str) -> Iterator[None]:
        """Raise `BrokerError` for what the client raises, with what a server or the network said meanwhile.

        Raises:
            UnfitMessageError: The message is larger than the server takes.
            BrokerError: Anything else.
        """
        try:
            yield
        except KafkaException as error:
            raise self.error_of(error.args[0], doing) from error
        except (TimeoutError, BufferError, OSError, RuntimeError) as error:
            said = presentable(str(error)) or f"no answer in time{self._heard()}"
            raise BrokerError(f"{QUEUE}: {doing} failed: {said}") from error

    def error_of(self, error: KafkaError, doing: str) -> BrokerError:
        """Return the error of ours for one of the client's."""
        # No later try will fit; all else may pass.
        if error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
            return UnfitMessageError(f"{QUEUE}: {doing} failed: the message is larger than the server takes")
        said = presentable(error.str())
        local = error.code() < 0
        return BrokerError(f"{QUEUE}: {doing} failed: {said}{self._heard() if local else ''}")

    def _heard(self) -> str:
        """Return what was said lately: the client itself only knows that nothing came in time."""
        recent = time.monotonic() - self._said_at < _REMEMBERED_SECONDS
        return f" ({self._said})" if self._said and recent else ""

    def _on_error(self, error: KafkaError) -> None:
        if error.code() != _ALL_BROKERS_DOWN:  # says nothing that the one before it does not
            self._said, self._said_at = presentable(error.str()), time.monotonic()


def _tls(access: Access) -> Settings:
    settings: Settings = {
        "ssl.endpoint.identification.algorithm": "https",
        "ssl.ca.location": "probe" if access.ca_file is None else str(access.ca_file),
    }
    if access.certificate_file is not None:
        settings |= {
            "ssl.certificate.location": str(access.certificate_file),
            "ssl.key.location": str(access.key_file),
        }
    return settings


def _is_tls(url: str) -> bool:
    return url.startswith("kafkas:")


def _host(host: str | None) -> str:
    return f"[{host}]" if host is not None and ":" in host else host or "localhost"
