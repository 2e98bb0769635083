"""Through which nodes a marker, or what burns it, goes out, and in which order."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.engine.nodes.fleet import Fleet
from orchestrator.engine.nodes.watcher import ChainWatcher
from orchestrator.engine.ports.nodes import NodeError, NodeTraits, Said
from orchestrator.membership.attempt import Attempt
from orchestrator.membership.besu_lines import PASSES_OVER_UNPRICED_SINCE
from orchestrator.membership.reasons.table import Reason

OFFER_SECONDS = 5.0
"""How long one node may take to accept a transaction while the others wait for it."""

TRAITS_SECONDS = 0.5
"""How long a node may take to say what it is before it is counted among those that come last."""

LATE_SECONDS = 1.0
"""How long the others are waited for once a node has taken a transaction."""


@dataclass(frozen=True, slots=True)
class NodeSigned:
    """A marker that a node signed, for which change, and the node's head when it was sent."""

    pmt_hash: str
    change_id: str
    sent_block: int


async def targets(fleet: Fleet, home: ChainWatcher) -> tuple[list[ChainWatcher], list[ChainWatcher]]:
    """Return the nodes to broadcast through, and those that come after them.

    Validators first: on 25.4.1 what comes through another node first is never mined. From 24.5.0 on a validator mines a
    transaction without a price only when it came through its own API, so each of them gets it (docs/besu.md#markers).

    Args:
        fleet: The nodes.
        home: The node to prefer.
    """
    nodes = [home, *(other for other in fleet.watchers if other is not home)]
    asked = [asyncio.ensure_future(_traits(node)) for node in nodes]
    try:
        # One that answers for its head and for nothing else would hold up every group's lock. What it is shows later:
        # the look at the nodes' chains waits for it.
        await asyncio.wait(asked, timeout=TRAITS_SECONDS)
        traits = [task.result() if task.done() else None for task in asked]
    finally:
        for task in asked:
            task.cancel()
    # Also who may be one: a validator that is left out never mines it from 24.5.0 on (docs/besu.md#markers, 14).
    validators = [node for node, known in zip(nodes, traits, strict=True) if known and known.validator is not False]
    each = any(known is not None and known.besu_version >= PASSES_OVER_UNPRICED_SINCE for known in traits)
    first = (validators if each else validators[:1]) or nodes[:1]
    return first, [node for node in nodes if node not in first]


async def offered(nodes: Sequence[ChainWatcher], raw: bytes, transaction_hash: str) -> list[NodeError | None]:
    """Hand a marker or a burn to nodes at the same time; returns for each why it did not take it, None when it has it.

    One that hangs holds up a lock no longer than a moment, once another one has the transaction.

    Args:
        nodes: The nodes.
        raw: The transaction; again does no more than once.
        transaction_hash: Its hash.

    Raises:
        LeaseLostError: It is sent for a lane that is not ours any more: nothing was sent.
    """
    if not nodes:
        return []
    offers = [asyncio.ensure_future(_offered(node, raw, transaction_hash)) for node in nodes]
    try:
        _, late = await asyncio.wait(offers, timeout=LATE_SECONDS)
        while late and not any(task.done() and task.exception() is None and task.result() is None for task in offers):
            _, late = await asyncio.wait(late, return_when=asyncio.FIRST_COMPLETED)
        return [
            task.result() if task.done() else _did_not_take(node, LATE_SECONDS)
            for node, task in zip(nodes, offers, strict=True)
        ]
    finally:
        for task in offers:
            task.cancel()


async def _offered(watcher: ChainWatcher, raw: bytes, transaction_hash: str) -> NodeError | None:
    try:
        async with asyncio.timeout(OFFER_SECONDS):
            await watcher.node.broadcast(raw, transaction_hash)
    except NodeError as error:
        return error
    except TimeoutError:
        return _did_not_take(watcher, OFFER_SECONDS)
    return None


def _did_not_take(watcher: ChainWatcher, seconds: float) -> NodeError:
    detail = f"node {watcher.node.name} did not take the marker within {seconds:g} s"
    return NodeError(Reason(slug="node_unreachable", detail=detail), Said.PERHAPS_DONE)


async def _traits(watcher: ChainWatcher) -> NodeTraits | None:
    if watcher.head is None:
        return None  # it has not answered so far: waiting for it would hold up a locked group
    try:
        return await watcher.node.traits()
    except NodeError:
        return None


async def is_mined(watcher: ChainWatcher, attempt: Attempt) -> bool:
    """Return whether a node has a block with an attempt's marker; raises `NodeError` when it does not tell."""
    return any(outcome.block_number is not None for outcome in await watcher.node.outcomes(attempt.pmt_hashes))


async def lacks(watcher: ChainWatcher, number: int) -> bool:
    """Return whether a node answers and does not have a block: its WebSocket may only not have told of it."""
    try:
        return (await watcher.refresh()).number < number
    except NodeError:
        return False
