"""Remembering which chain each node was on: a node that comes back with another one is not worked with.

It is left out as one that does not answer, and asked now and then whether it is back; the others go on, for one node
must not stop a daemon. Only when all nodes are on another chain the network itself is another one.

What the store knows of groups, attempts and locks holds on one chain. A network that was made anew under the same
addresses looks like a reorganisation of everything, and whatever is signed for it then rests on what never happened
there.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Protocol

import structlog

from orchestrator.engine.nodes.fleet import Fleet
from orchestrator.engine.nodes.watcher import ChainWatcher
from orchestrator.engine.ports.clock import Clock
from orchestrator.engine.ports.nodes import NodeError
from orchestrator.engine.ports.store import StoreError
from orchestrator.engine.runtime.isolation import contained

DEEP_BLOCKS: Final = 256
"""How far below the head the remembered block lies: no reorganisation of a chain that proves blocks reaches it."""
AGREEING: Final = 2
"""So many nodes of one chain id say more than one of another."""

ANSWER_SECONDS: Final = 5.0
EVERY: Final = timedelta(minutes=1)
LOOK_SECONDS: Final = 1.0

WAY_OUT: Final = (
    "Correct the node's address if it is a mistake. If the network was made anew, nothing in the database holds there: "
    "stop the daemon, move the database away (store.url), and run `orchestrator run --migrate`."
)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeChain:
    """Which chain a node is on.

    Attributes:
        chain_id: What its signatures are bound to.
        genesis_hash: Hash of its block 0.
        number: A block that is deep enough to stay.
        block_hash: That block's hash.
    """

    chain_id: int
    genesis_hash: str
    number: int
    block_hash: str


class ChainRecord(Protocol):
    """Remembers chains. Every method may raise `StoreError`."""

    async def chains(self) -> Mapping[str, NodeChain]:
        """Return the chains by the nodes' names."""

    async def keep(self, node: str, chain: NodeChain) -> None:
        """Remember which chain a node is on."""


class OtherChainError(Exception):
    """All nodes are on another chain than the store knows them on; the message says what to do."""


def difference(node: str, known: NodeChain, now: NodeChain, hash_now: str | None) -> str:
    """Return how a node's chain is another one than it was, for a person; empty when it is the same.

    Args:
        node: Its name.
        known: What is remembered.
        now: What it shows.
        hash_now: The hash that the remembered block's number has there now; None when it has no such block.
    """
    if known.chain_id != now.chain_id:
        what = f"its chain id was {known.chain_id} and is {now.chain_id}"
    elif known.genesis_hash != now.genesis_hash:
        what = f"its first block was {known.genesis_hash} and is {now.genesis_hash}"
    elif hash_now is not None and hash_now != known.block_hash:
        what = f"its block {known.number} was {known.block_hash} and is {hash_now}, deeper than reorganisations go"
    else:
        return ""
    return f"node {node} is on another chain than before: {what}"


def stray(node: str, chain_id: int | None, of_all: Iterable[int | None]) -> str:
    """Return how a node's chain id is none of the others', for a person; empty when it is theirs, or nobody can say.

    What is signed for the node's groups is bound to the id that it tells: there it could be used.

    Args:
        node: Its name.
        chain_id: What it tells; None for nothing.
        of_all: What each node tells, this one among them.
    """
    counts = Counter(one for one in of_all if one is not None)
    usual, nodes = max(counts.items(), key=lambda item: item[1], default=(0, 0))
    if chain_id is None or nodes < AGREEING or counts[chain_id] > 1:
        return ""
    return f"node {node} is on another chain than {nodes} others: its chain id is {chain_id}, theirs {usual}"


async def _chain_id(watcher: ChainWatcher) -> int | None:
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            return (await watcher.node.traits()).chain_id
    except (NodeError, TimeoutError):
        return None


class ChainGuard:
    """Compares each node's chain with the one that it was on.

    Args:
        fleet: The nodes.
        record: Remembers.
        clock: Time.
    """

    def __init__(self, fleet: Fleet, record: ChainRecord, clock: Clock) -> None:
        self._fleet = fleet
        self._record = record
        self._clock = clock
        self._signs: dict[str, tuple[int, int]] = {}

    async def check(self) -> None:
        """Compare all nodes that answer, remember those that are new, and leave out those on another chain.

        Raises:
            OtherChainError: All of them are.
            StoreError: The store does not answer.
        """
        known = await self._record.chains()
        ids = dict(zip(self._fleet.watchers, await asyncio.gather(*map(_chain_id, self._fleet.watchers)), strict=True))
        found = await asyncio.gather(
            *(self._compare(w, known.get(w.node.name), stray(w.node.name, ids[w], ids.values())) for w in ids)
        )
        for watcher, trouble in zip(self._fleet.watchers, found, strict=True):
            node = watcher.node
            # Told when it begins and when it ends, not at each look.
            if trouble and not node.barred:
                log.critical("a node is on another chain, it is left out", reason=trouble, remedy=WAY_OUT)
            elif trouble == "" and node.barred:
                log.warning("a node is back on its chain", node=node.name)
            # A node that does not tell stays what it was: silence is no proof of either chain.
            node.barred = node.barred if trouble is None else trouble
        # Also with one node: then nothing of the store holds any more, and whatever is signed rests on another chain.
        if found and all(found):
            raise OtherChainError("; ".join(str(trouble) for trouble in found) + ". " + WAY_OUT)

    async def run(self) -> None:
        """Compare again every `EVERY`, and at once when a node was away or its chain was reorganised.

        Raises:
            OtherChainError: All nodes are on another chain.
        """
        waited = timedelta()
        while True:
            await self._clock.sleep(LOOK_SECONDS)
            waited += timedelta(seconds=LOOK_SECONDS)
            signs = {w.node.name: (w.reorganisations, w.returns) for w in self._fleet.watchers}
            # A node that was away, or whose chain was reorganised, may have come back as another network's.
            if waited < EVERY and signs == self._signs:
                continue
            self._signs, waited = signs, timedelta()
            trouble: OtherChainError | None = None
            with contained("chains"):
                try:
                    await self.check()
                except OtherChainError as error:
                    trouble = error
                except StoreError as error:
                    log.warning("chains are not compared now, the store does not answer", reason=str(error))
            if trouble is not None:
                raise trouble

    async def watch(self, stopping: asyncio.Event) -> OtherChainError | None:
        """Run until all nodes are on another chain; then ask for an orderly stop, and return why."""
        try:
            await self.run()
        except OtherChainError as error:
            log.critical("the network is another one, stopping", reason=str(error))
            stopping.set()
            return error
        return None

    async def _compare(self, watcher: ChainWatcher, known: NodeChain | None, strays: str) -> str | None:
        """Return how a node's chain differs: empty when it does not, None when the node does not tell."""
        node = watcher.node
        if strays:
            return strays
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                chain_id = (await node.traits()).chain_id
                genesis = (await node.block(0)).block_hash
                head = (await node.head()).number
                number = max(head - DEEP_BLOCKS, 0)
                deep = (await node.block(number)).block_hash
                now = NodeChain(chain_id=chain_id, genesis_hash=genesis, number=number, block_hash=deep)
                # A node that is synchronising anew does not have that block yet, which makes it no other chain.
                there = (await node.block(known.number)).block_hash if known and known.number <= head else None
        except (NodeError, TimeoutError) as error:
            log.debug("chain not compared", node=node.name, reason=str(error))
            return None
        if known is not None and (trouble := difference(node.name, known, now, there)):
            return trouble
        if known is None or number >= known.number + DEEP_BLOCKS:
            await self._record.keep(node.name, now)
        return ""
