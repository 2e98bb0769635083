"""Chooses the message queue that a URL names."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

from orchestrator.broker.embedded import embedded_server
from orchestrator.broker.names import Access, Limits, Names
from orchestrator.broker.nats import NatsBroker
from orchestrator.broker.port import Broker
from orchestrator.broker.rabbitmq import RabbitMQBroker

SCHEMES = ("embedded", "nats", "tls", "amqp", "amqps")


class UnknownBrokerError(ValueError):
    """A URL that names no message queue that is known here."""


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
            ``amqp://…`` or ``amqps://…``.
        directory: Where the embedded server keeps what it stores; other queues don't use it.
        names: Names of subjects or queues.
        limits: Bounds.
        access: Credentials and certificates.

    Raises:
        UnknownBrokerError: The URL's scheme is none of `SCHEMES`.
        BrokerError: The embedded server did not start.
    """
    scheme = urlsplit(url.split(",", maxsplit=1)[0]).scheme
    if scheme not in SCHEMES:
        raise UnknownBrokerError(
            f"broker.url {scheme or url!r}: must begin with one of {', '.join(f'{known}:' for known in SCHEMES)}"
        )
    names, limits, access = names or Names(), limits or Limits(), access or Access()
    async with AsyncExitStack() as stack:
        if scheme == "embedded":
            url = (await stack.enter_async_context(embedded_server(directory))).url
        kind = RabbitMQBroker if scheme in {"amqp", "amqps"} else NatsBroker
        broker = kind(url, names=names, limits=limits, access=access)
        stack.push_async_callback(broker.close)
        yield broker
