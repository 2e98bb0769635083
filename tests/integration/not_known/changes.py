"""One change in a calm simulation, from its request to its rest, with nodes that may once not say what they know."""

import asyncio
import base64
import gc
import json
import logging
from collections.abc import AsyncIterator, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import cache
from random import Random
from typing import Any

import structlog

from orchestrator.store.commits.database import Database
from orchestrator.store.commits.schema_version import migrate_on
from orchestrator.store.database.connections import engine_for, normalised
from tests.simulation import virtual_time
from tests.simulation.checks import Checks
from tests.simulation.endings import Endings
from tests.simulation.fault_profile import calm
from tests.simulation.messages import MessageQueue
from tests.simulation.owner import OwnerClient
from tests.simulation.proxy import Point, Proxy, Seen
from tests.simulation.replica import Replica
from tests.simulation.traffic import Application
from tests.simulation.world import World

PATIENCE_SECONDS = 300.0
LOOK_SECONDS = 0.5
SEED = 23

CALM = replace(calm(3), replay_ms=5.0)

KINDS = ("create_group", "add_members", "remove_members", "set_members", "unlock_group")


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """What a change came to.

    Attributes:
        state: Of the change, with the reason when it has one.
        members: Positions of the members' nodes, from 0.
        locked: Whether the group is locked.
        executed: What the daemon's transactions did in the group, in order.
        attempts: What was signed and what became of it, in order.
        undecided: How many of them can still be mined.
        reorganisations: How many the daemon took for such.
        broken: Invariants of the simulator that were broken.
        seen: The calls that reached the nodes.
        silenced: The one that was not answered as it should be.
        seconds: Until it was at rest, in virtual time.
    """

    state: str
    members: frozenset[int]
    locked: bool
    executed: tuple[str, ...]
    attempts: tuple[str, ...]
    undecided: int
    reorganisations: int
    broken: tuple[str, ...]
    seen: tuple[Seen, ...]
    silenced: Seen | None
    seconds: float


def run_change(kind: str, point: Point | None, *, trace: bool = False) -> End:
    """Ask for one change and see to its end.

    Args:
        kind: Of the change.
        point: Where nodes are silent; None for nowhere.
        trace: Whether to print what happens.
    """
    errors: list[str] = []
    keep_errors(errors)
    gc.disable()  # when garbage is found must not depend on what ran before
    try:
        return virtual_time.run(_play(kind, point, errors, trace=trace))
    finally:
        gc.enable()
        gc.freeze()


def keep_errors(errors: list[str]) -> None:
    """Let what is logged as an error break the run: the engine logs so only what is a defect."""

    def keep(_: object, method: str, entry: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        if method in ("error", "exception", "critical"):
            errors.append(" | ".join("\n".join(str(part) for part in entry.values()).splitlines()[-3:]))
        raise structlog.DropEvent

    structlog.configure(
        processors=[structlog.processors.format_exc_info, keep],
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        cache_logger_on_first_use=False,
    )


@cache
def _tables() -> bytes:
    """An empty store's bytes: to migrate one takes longer than most changes."""
    engine = engine_for(normalised("sqlite://"))
    with engine.begin() as connection:
        migrate_on(connection)
    empty: bytes = engine.raw_connection().driver_connection.serialize()  # type: ignore[union-attr]  # the connection is open
    engine.dispose()
    return empty


@asynccontextmanager
async def empty_store() -> AsyncIterator[Database]:
    """Open a store of its own in memory."""
    database = Database("sqlite://")
    database._writing.raw_connection().driver_connection.deserialize(_tables())  # type: ignore[union-attr]  # the connection is open
    try:
        yield database
    finally:
        await database.close()


async def _play(kind: str, point: Point | None, errors: list[str], *, trace: bool) -> End:
    chance = Random(SEED)  # noqa: S311 - a plan that can be repeated
    async with empty_store() as database:
        world = World(SEED, CALM, chance, database, trace=trace)
        world.checks = checks = Checks(world, database, errors)
        queue, owner = MessageQueue(world), OwnerClient(world)
        proxy = world.proxy = Proxy(point)
        keys = [node.key for node in world.emulation.network.nodes]
        group = base64.b64encode(chance.randbytes(32)).decode()
        blocks = world.spawn(make_blocks(world))
        data = {"kind": kind, "privacy_group_id": group} | await _prepare(kind, owner, group, keys)
        replica = Replica(world, queue, "r1")
        world.spawn(replica.run())
        queue.publish("asked", data)
        began = world.loop.time()
        while world.loop.time() < began + PATIENCE_SECONDS and not errors:
            await asyncio.sleep(LOOK_SECONDS)
            if not queue.unsettled and checks.at_rest():
                break
        seconds = world.loop.time() - began
        # What is under way still must not change what was told.
        await asyncio.sleep(4 * CALM.block_seconds)
        others = Application(world)
        Endings(world=world, checks=checks, queue=queue, owner=owner, application=others, groups=(group,)).check()
        if replica.life is not None:
            replica.life.die("the end")
        blocks.cancel()
        reorganisations = sum(watcher.reorganisations for watcher in replica.fleet.watchers)
        return _end(checks, group, keys, proxy, seconds, reorganisations)


async def make_blocks(world: World) -> None:
    """Let the network's time be that of the loop, for ever."""
    while True:
        wake_at = world.advance() or 0.0
        await asyncio.sleep(min(max(wake_at - world.loop.time(), 0.001), CALM.block_seconds))


async def _prepare(kind: str, owner: OwnerClient, group: str, keys: list[str]) -> dict[str, list[str]]:
    """Make the group that the change is of; return what is asked for besides."""
    if kind == "create_group":
        return {"members": keys[:2]}
    owner.create(group, tuple(keys if kind == "remove_members" else keys[:2]))
    await asyncio.sleep(2.5 * CALM.block_seconds)
    match kind:
        case "add_members":
            return {"members": keys[2:]}
        case "remove_members":
            return {"members": keys[1:2]}
        case "set_members":
            return {"members": [keys[0], keys[2]]}
        case _:
            owner.lock(group)
            await asyncio.sleep(2.5 * CALM.block_seconds)
            return {}


def _end(checks: Checks, group: str, keys: list[str], proxy: Proxy, seconds: float, reorganisations: int) -> End:
    attempts = checks.rows("SELECT raw, action, status FROM attempts ORDER BY position")
    actions = {bytes(raw): action for raw, action, _ in attempts}
    history = [record for _, record in checks.ledger.truth.executed(group)]
    state = history[-1].state.contract if history else None
    found = checks.rows("SELECT state, reason FROM changes")
    return End(
        state=", ".join(
            state if reason is None else f"{state} {json.loads(reason)['slug']}" for state, reason in found
        ),
        members=frozenset(map(keys.index, state.participants)) if state is not None else frozenset(),
        locked=state is not None and not state.can_execute,
        executed=tuple(actions[r.signed.raw] for r in history if r.signed.raw in actions),
        attempts=tuple(f"{action} {status}" for _, action, status in attempts),
        undecided=sum(status in ("signed", "sent") for *_, status in attempts),
        reorganisations=reorganisations,
        broken=tuple(checks.broken),
        seen=tuple(proxy.seen),
        silenced=proxy.silenced,
        seconds=seconds,
    )
