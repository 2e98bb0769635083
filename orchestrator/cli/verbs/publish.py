"""``orchestrator publish``: puts a request into the message queue, as an application does."""

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli import options
from orchestrator.cli.display.output import Exit, fail, quieten

if TYPE_CHECKING:
    from orchestrator.config import Config


def publish(
    file: Annotated[
        str, typer.Argument(metavar="[FILE]", help="A CloudEvent as JSON; - reads standard input.", show_default=False)
    ] = "-",
    config: options.ConfigFile = options.DEFAULT_CONFIG,
) -> None:
    """Put a request into the message queue.

    It is checked first. What becomes of it is told by status events: orchestrator watch.
    """
    from orchestrator.cli.verbs.run import load
    from orchestrator.engine.intake.requests import InvalidRequestError, parse_trigger
    from orchestrator.engine.ports.queues import BrokerError

    loaded = load(config)
    body = read_input(file)
    try:
        request = parse_trigger(body, {"content-type": "application/cloudevents+json"})
    except InvalidRequestError as error:
        raise fail(f"{file}: {error}", Exit.USAGE) from None
    quieten()
    try:
        asyncio.run(_send(loaded, body))
    except BrokerError as error:
        raise fail(str(error)) from None
    typer.echo(request.request_id)


def read_input(file: str) -> bytes:
    """Return what a file or standard input holds, a little more than a request may have at most."""
    from orchestrator.engine.intake.requests import MAX_BODY_BYTES

    try:
        if file == "-":
            return sys.stdin.buffer.read(MAX_BODY_BYTES + 1)
        with Path(file).open("rb") as opened:
            return opened.read(MAX_BODY_BYTES + 1)
    except OSError as error:
        raise fail(f"{file}: can't be read: {error.strerror}", Exit.USAGE) from None


async def _send(config: "Config", body: bytes) -> None:
    from orchestrator.app.daemon import broker_access, broker_names
    from orchestrator.broker.connection import connect
    from orchestrator.broker.nats.embedded import embedded_url
    from orchestrator.engine.ports.queues import BrokerError

    broker, url = config.broker, config.broker.url
    if url == "embedded:":
        try:
            # It has another port at each start, which it leaves in its folder.
            url = embedded_url(broker.data_dir)
        except OSError:
            raise BrokerError(
                f"no message queue ever ran in {broker.data_dir}; it is started by the daemon: orchestrator run"
            ) from None
    async with connect(
        url, directory=broker.data_dir, names=broker_names(broker), access=broker_access(broker)
    ) as queue:
        await queue.request(body)
