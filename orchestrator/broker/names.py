"""What a message queue is told: names, bounds and credentials. Pure."""

import ssl
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Final

MOST_BODY_BYTES: Final = 1 << 20
"""Of each message that RabbitMQ or Kafka hands out; four times what a request may have, and as much as NATS takes.

RabbitMQ takes 16 or 128 MiB, and Kafka counts what is compressed: hundreds of messages are handed out at a time, and
would be in memory before the first one is refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """Names of subjects (NATS), queues and exchange (RabbitMQ) or topics (Kafka).

    Attributes:
        requests: Where triggers come in.
        dead: Where those go that can't be accepted, with the reason.
        events: What status events are published under: ``<events>.<type>`` is the subject, or the routing key in the
            topic exchange `events`. On Kafka `events` is one topic.
        consumer: Name of the durable consumer, or of the consumer group; replicas of one daemon share it.
        sources: Further subjects or queues where triggers come in, one for each sender that is known by it.
        verdicts: Where daemons of several organisations tell each other, signed, what their own nodes show.
    """

    requests: str = "membership.requests"
    dead: str = "membership.requests.dead"
    events: str = "membership.events"
    consumer: str = "orchestrator"
    verdicts: str = "membership.verdicts"
    sources: tuple[str, ...] = ()

    @property
    def inlets(self) -> tuple[str, ...]:
        """Where triggers come in, each once."""
        return tuple(dict.fromkeys((self.requests, *self.sources)))

    def consumer_of(self, inlet: str) -> str:
        """Return the name of the durable consumer of an inlet (NATS)."""
        # A stream may have the subjects of several inlets, and in it a name belongs to one consumer.
        return self.consumer if inlet == self.requests else f"{self.consumer}-{inlet.replace('.', '-')}"

    def event_subject(self, event_type: str) -> str:
        """Return the subject or routing key of a type of status event."""
        return f"{self.events}.{event_type}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of one connection.

    Attributes:
        in_flight: Triggers that may be taken and not yet settled by this process.
        ack_wait: After this the queue gives an unsettled trigger to another consumer (NATS): so long a request waits
            whose daemon died before it was stored. One that is slow to be stored comes twice, and is recognised.
        call_seconds: Bound of each exchange with the queue.
        connect_seconds: Bound of one attempt to connect.
        reconnect_seconds: Longest pause between two attempts.
        keep_events: How long the queue keeps published events (NATS, Kafka).
        replicas: Copies of each stream in a cluster (NATS).
    """

    in_flight: int = 256
    ack_wait: timedelta = timedelta(seconds=5)
    call_seconds: float = 5.0
    connect_seconds: float = 10.0
    reconnect_seconds: float = 5.0
    keep_events: timedelta = timedelta(days=7)
    replicas: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How the queue knows us and we know it; secrets don't show in its repr.

    Attributes:
        token: NATS token.
        user: User name, unless the URL has one.
        password: Password, unless the URL has one.
        credentials_file: NATS credentials (JWT and seed).
        ca_file: Certificates that the server's must descend from; the system's when None.
        sasl_mechanism: How user and password are shown (Kafka).
        certificate_file: Our certificate, for servers that ask for one.
        key_file: Its private key.
    """

    token: str | None = field(default=None, repr=False)
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    credentials_file: Path | None = None
    sasl_mechanism: str = "SCRAM-SHA-512"
    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None

    @property
    def names_certificates(self) -> bool:
        """Whether anything here is about TLS."""
        return self.ca_file is not None or self.certificate_file is not None

    def tls_context(self) -> ssl.SSLContext:
        """Return the settings for TLS: server certificate and host name are always checked.

        Raises:
            OSError: A file is missing or unreadable.
            ssl.SSLError: A file holds no certificate, or the key does not fit.
        """
        context = ssl.create_default_context(cafile=self.ca_file)
        if self.certificate_file is not None:
            context.load_cert_chain(self.certificate_file, self.key_file)
        return context
