"""Whether the daemon's own surroundings are fit for it: store, clock, message queue, disk; for doctor and for `run`.

What is asked is what the daemon will do: a write in the store, the queues and streams that it needs (which are made
where they are missing, as `run` makes them).
"""

import asyncio
import shutil
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Final

from orchestrator.app.restoration import examine_restoration
from orchestrator.app.store_growth import examine_growth
from orchestrator.broker.port import Broker
from orchestrator.config import Config, secret_files, secret_trouble
from orchestrator.doctor.findings import Finding, Level
from orchestrator.engine.intake.requests import MAX_BODY_BYTES
from orchestrator.engine.ports.queues import BrokerError
from orchestrator.engine.ports.store import StoreError
from orchestrator.events.neighbours import foreign_source
from orchestrator.store.commits.database import Database
from orchestrator.store.database.connections import normalised
from orchestrator.store.database.server_facts import server_facts
from orchestrator.store.database.size import store_size
from orchestrator.store.stores.outbox_store import SqlOutbox

CHECK_SECONDS: Final = 8.0
LARGEST_MESSAGE_BYTES: Final = MAX_BODY_BYTES
"""Of a request that is taken; a status event of a group of a thousand members is smaller."""
SKEW_SECONDS: Final = 1.0
LITTLE_BYTES: Final = 1 << 30
LEAST_BYTES: Final = 64 << 20


async def examine(config: Config, database: Database, broker: Broker) -> tuple[Finding, ...]:
    """Look at store, queue, secrets and disk; takes as long as the slowest, at most some seconds.

    Args:
        config: The configuration.
        database: The open database.
        broker: The message queue.
    """
    store, queue, neighbours = await asyncio.gather(
        examine_store(config, database), examine_queue(broker), examine_neighbours(config, database, broker)
    )
    return (*store, *queue, *neighbours, *secrets(config), *disk(config))


async def examine_queue(broker: Broker) -> tuple[Finding, ...]:
    """Look at both directions of the message queue, and at its limits."""
    requests, events = await asyncio.gather(_requests(broker), _events(broker))
    return (*requests, *events)


async def examine_neighbours(config: Config, database: Database, broker: Broker) -> tuple[Finding, ...]:
    """Look whether another store's events go where ours do: nothing where that can't be told, which others say.

    RabbitMQ keeps no event for who comes later; there it is found out while the daemon runs.
    """
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            own = (await SqlOutbox(database, config.events.source).identity()).source
            other = await foreign_source(broker, own)
    except (StoreError, BrokerError, TimeoutError):
        return ()
    if other is None:
        return ()
    trouble = Finding(
        check="neighbours",
        level=Level.WARNING,
        what=f"{other} publishes its events under the same names as this daemon, {own}",
        why="Two daemons with different stores take each other's requests from the queue.",
        remedy="Give each its own broker.names, or one store; an event of a store that is gone does no harm.",
    )
    return (trouble,)


def secrets(config: Config) -> tuple[Finding, ...]:
    """Look at the files of secrets again: what was right when the configuration was read may be replaced since."""
    files = secret_files(config)
    trouble = [said for path in files if (said := secret_trouble(path)) is not None]
    if trouble:
        return tuple(
            Finding(
                check="secrets",
                level=Level.ERROR,
                what=said,
                why="A key that others can read is theirs, too; one that can't be read signs nothing.",
                remedy="See docs/servers.md for how systemd and Kubernetes hand secrets over.",
            )
            for said in trouble
        )
    return (Finding(check="secrets", level=Level.OK, what=f"{len(files)} file(s) with secrets are closed to others"),)


def disk(config: Config) -> tuple[Finding, ...]:
    """Return how much room there is where the daemon itself writes."""
    url = normalised(config.store.url)
    places = {"store": Path(str(url.database)).parent} if url.get_backend_name() == "sqlite" else {}
    if config.broker.url == "embedded:":
        places["embedded message queue"] = config.broker.data_dir
    found = []
    for what, place in places.items():
        # What is made at the first start is not there yet: the disk is that of the nearest folder above it.
        there = next((folder for folder in (place, *place.parents) if folder.exists()), Path("/"))
        free = shutil.disk_usage(there).free
        level = Level.OK if free >= LITTLE_BYTES else Level.WARNING if free >= LEAST_BYTES else Level.ERROR
        found.append(
            Finding(
                check="disk",
                level=level,
                what=f"{free >> 20} MiB are free for the {what} in {there}",
                why="" if level is Level.OK else "With a full disk nothing is stored, and no request is taken.",
                remedy="" if level is Level.OK else "Make room, or move it to another disk.",
            )
        )
    return tuple(found)


async def examine_store(config: Config, database: Database) -> tuple[Finding, ...]:
    """Look whether the store takes a write, what it is, and whether its clock is ours."""
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            await database.probe()
            facts = await database.read(partial(server_facts, now=time.time))
            size = await database.read(store_size)
            restored = await examine_restoration(database)
    except (StoreError, TimeoutError) as error:
        return (store_trouble(str(error) or f"no answer in {CHECK_SECONDS:g} s"),)
    through = " through a pooler that keeps sessions" if facts.pooled else ""
    found = [Finding(check="store", level=Level.OK, what=f"the store takes writes ({facts.name}{through})")]
    skew = abs(facts.ahead_seconds)
    if skew > SKEW_SECONDS:
        worst = Level.ERROR if skew > config.engine.lease_seconds / 2 else Level.WARNING
        found.append(
            Finding(
                check="store-clock",
                level=worst,
                what=f"the database's clock is {facts.ahead_seconds:+.1f} s from this machine's",
                why="Replicas tell by their clocks whether another's lease is over.",
                remedy="Set the clocks of all machines by NTP.",
            )
        )
    # A file has our own clock, which agrees with itself.
    elif not facts.name.startswith("SQLite"):
        found.append(
            Finding(check="store-clock", level=Level.OK, what="the database's clock agrees with this machine's")
        )
    return (*found, *examine_growth(config, size), *restored)


def store_trouble(said: str) -> Finding:
    """Return the finding for a store that can't be used."""
    return Finding(
        check="store",
        level=Level.ERROR,
        what=f"the store can't be used: {said}",
        why="The daemon takes requests only when it can store them.",
        remedy="Start the database, correct store.url, or run `orchestrator migrate` (docs/servers.md).",
    )


async def _requests(broker: Broker) -> tuple[Finding, ...]:
    said = await _trouble(broker.check) or await _trouble(broker.check_rights)
    if said is None:
        return (Finding(check="queue", level=Level.OK, what="requests can be taken from the queue, and buried"),)
    return (queue_trouble(said),)


def queue_trouble(said: str) -> Finding:
    """Return the finding for a message queue that requests can't be taken from."""
    return Finding(
        check="queue",
        level=Level.ERROR,
        what=f"requests can't be taken from the queue: {said}",
        why="No request comes in this way; what is asked for over HTTP is not concerned.",
        remedy="Start the queue, correct broker.url, or grant what is missing (docs/servers.md).",
    )


async def _events(broker: Broker) -> tuple[Finding, ...]:
    said = await _trouble(broker.check_events)
    if said is not None:
        trouble = Finding(
            check="events",
            level=Level.ERROR,
            what=f"status events can't be published: {said}",
            why="They wait in the store; subscribers of the queue hear nothing meanwhile.",
            remedy="Grant or mend what is named (docs/servers.md).",
        )
        return (trouble,)
    found = [Finding(check="events", level=Level.OK, what="all types of status events can be published")]
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            most = await broker.largest_message()
    except (BrokerError, TimeoutError):
        most = None
    if most is not None and most < LARGEST_MESSAGE_BYTES:
        found.append(
            Finding(
                check="message-limit",
                level=Level.WARNING,
                what=f"the queue takes messages of {most} bytes at most",
                why="What is larger is set aside: subscribers of the queue miss it, and find it over HTTP.",
                remedy=f"Raise the limits of server and streams to {LARGEST_MESSAGE_BYTES} bytes or more.",
            )
        )
    return tuple(found)


async def _trouble(ask: Callable[[], Awaitable[None]]) -> str | None:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            await ask()
    except BrokerError as error:
        return str(error)
    except TimeoutError:
        return f"no answer in {CHECK_SECONDS:g} s"
    return None
