"""Chooses the message queue that a URL names."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from orchestrator.broker.names import Access, Limits, Names
from orchestrator.broker.nats.embedded import embedded_server
from orchestrator.broker.nats.queue import NatsBroker
from orchestrator.broker.port import Broker
from orchestrator.broker.rabbitmq.queue import RabbitMQBroker
from orchestrator.engine.ports.queues import BrokerError

SCHEMES = ("embedded", "nats", "tls", "amqp", "amqps", "kafka", "kafkas")


class UnknownBrokerError(ValueError):
    """A URL that names no message queue that is known here."""


class MissingClientError(BrokerError):
    """The client of a message queue is not installed."""


@asynccontextmanager
async def connect(
    url: str,
    *,
    directory: Path,
    names: Names | None = None,
    limits: Limits | None = None,
    access: Access | None = None,
) -> AsyncIterator[Broker]:
    """Give a message queue while the context lasts. It need not answer yet: it is connected to when first needed.

    Args:
        url: ``embedded:`` (a NATS server of our own), ``nats://…`` or ``tls://…`` (several separated by commas),
            ``amqp://…`` or ``amqps://…``, ``kafka://…`` or ``kafkas://…`` (TLS; several separated by commas).
        directory: Where the embedded server keeps what it stores; other queues don't use it.
        names: Names of subjects or queues.
        limits: Bounds.
        access: Credentials and certificates.

    Raises:
        UnknownBrokerError: The URL's scheme is none of `SCHEMES`.
        MissingClientError: The client of Kafka is not installed.
        BrokerError: The embedded server did not start.
    """
    scheme = urlsplit(url.split(",", maxsplit=1)[0]).scheme
    if scheme not in SCHEMES:
        raise UnknownBrokerError(
            f"broker.url {scheme or url!r}: must begin with one of {', '.join(f'{known}:' for known in SCHEMES)}"
        )
    names, limits, access = names or Names(), limits or Limits(), access or Access()
    async with AsyncExitStack() as stack:
        broker: _Closable
        if scheme == "embedded":
            # The server first, so that it ends last: what the connection still says at its end has to be stored.
            server = await stack.enter_async_context(embedded_server(directory))
            broker = NatsBroker(server.url, names=names, limits=limits, access=access, trouble=lambda: server.trouble)
        else:
            broker = _kind_of(scheme)(url, names=names, limits=limits, access=access)
        stack.push_async_callback(broker.close)
        yield broker


class _Closable(Broker, Protocol):
    def __init__(self, url: str, *, names: Names, limits: Limits, access: Access) -> None: ...

    async def close(self) -> None: ...


def _kind_of(scheme: str) -> type[_Closable]:
    if scheme in {"amqp", "amqps"}:
        return RabbitMQBroker
    if scheme not in {"kafka", "kafkas"}:
        return NatsBroker
    try:
        from orchestrator.broker.kafka.queue import KafkaBroker  # noqa: PLC0415 - an extra: most have no use for its client
    except ModuleNotFoundError as error:
        raise MissingClientError(
            f"Kafka's client is not installed ({error.name} is missing): "
            "pip install 'besu-membership-orchestrator[kafka]' (locked: requirements-kafka.txt)"
        ) from error
    return KafkaBroker
