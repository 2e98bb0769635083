"""Two daemons on a RabbitMQ of three servers that loses one after the other: ``python -m tests.soak.rabbitmq_cluster``.

Each server is killed while changes are asked for, and started again. At the end the invariants are checked, and that a
subscriber's queue got every event.
"""

import asyncio
import contextlib
import json
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from random import Random

import aio_pika

from orchestrator.store.schema_version import migrate
from tests.servers.loopback_server import guard
from tests.servers.postgresql_server import PostgreSQLServer
from tests.servers.rabbitmq_server import RabbitMQServer
from tests.soak.checks import Published, told
from tests.soak.rolling import stage

GROUPS = 6
SEEN = "seen"
QUORUM: dict[str, aio_pika.abc.FieldValue] = {"x-queue-type": "quorum"}


@contextlib.contextmanager
def cluster() -> Iterator[tuple[RabbitMQServer, ...]]:
    """Run three servers that know each other."""
    with RabbitMQServer() as first, RabbitMQServer(beside=first) as second, RabbitMQServer(beside=first) as third:
        for server in (second, third):
            server.join()
        yield first, second, third


async def subscribe(url: str) -> None:
    """Have a queue of every event, as a subscriber would."""
    connection = await aio_pika.connect(url)
    async with connection:
        channel = await connection.channel()
        exchange = await channel.declare_exchange("membership.events", aio_pika.ExchangeType.TOPIC, durable=True)
        queue = await channel.declare_queue(SEEN, durable=True, arguments=QUORUM)
        await queue.bind(exchange, "#")


async def published(url: str) -> Published:
    """Read what the subscriber's queue got."""
    found: dict[str, list[int]] = defaultdict(list)
    connection = await aio_pika.connect(url)
    async with connection:
        channel = await connection.channel()
        queue = await channel.get_queue(SEEN)
        while (message := await queue.get(no_ack=True, fail=False)) is not None:
            event = json.loads(message.body)
            found[event.get("subject", "")].append(int(event["data"]["sequence"]))
        dead = (await channel.get_queue("membership.requests.dead")).declaration_result.message_count
    return found, int(dead or 0)


async def lose_each(folder: Path, seed: int) -> list[str]:
    """Run it; returns what does not hold."""
    with cluster() as servers, PostgreSQLServer() as postgresql:
        url = postgresql.url_of(postgresql.create_database())
        migrate(url)
        await subscribe(servers[0].url)
        queue_url = ",".join(server.url for server in servers)
        chance = Random(seed)  # noqa: S311 - a plan that can be repeated
        password = folder / "queue.password"
        password.touch(mode=0o600)
        password.write_text("guest")
        named = f'user = "guest"\npassword_file = "{password}"'
        async with stage(
            folder,
            chance,
            store_url=url,
            queue_url=queue_url,
            replicas=2,
            groups=GROUPS,
            changed=lambda _, text: text.replace("guest:guest@", "").replace("copies = 1", named),
        ) as running:
            await running.until_changes_go_on()
            for server in servers:
                await asyncio.to_thread(server.write_tables)
                await asyncio.to_thread(server.kill)
                await running.until_changes_go_on()
                await asyncio.to_thread(server.start)
                sys.stdout.write(f"a server lost and back: {dict(running.ledger.counts())}\n")
                sys.stdout.flush()
            await running.quiet()
            return await running.problems(lambda: published(servers[0].url))


def main() -> int:
    """Run it from the command line; returns the exit code."""
    folder = Path(tempfile.mkdtemp(prefix="rabbitmq-cluster-"))
    try:
        problems = asyncio.run(lose_each(folder, 7))
    finally:
        guard.close()
    sys.stdout.write(f"{len(problems)} problems:\n{told(problems)}\n" if problems else "all invariants hold\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
