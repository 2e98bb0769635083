"""What a guard reads of its node and of the chain, to judge a bundle. The node's head is the parent of the block."""

import asyncio
import base64
from collections.abc import Callable, Sequence
from typing import Final

from orchestrator.besu.codec.answers import optional, read_quantity
from orchestrator.besu.codec.json_rpc import Call
from orchestrator.besu.errors import BesuError, RpcError
from orchestrator.besu.transport.http_client import HttpNode
from orchestrator.engine.history.examinations import ExaminedBlocks
from orchestrator.engine.history.newcomers import NewcomerReader
from orchestrator.engine.history.ports import HistoryStore
from orchestrator.engine.history.replays import NodeReplays
from orchestrator.engine.history.roots import NodeRoots
from orchestrator.engine.nodes.fleet import Fleet
from orchestrator.engine.nodes.watcher import ChainWatcher
from orchestrator.engine.ports.nodes import Head, NodeError
from orchestrator.guard.pools import pooled
from orchestrator.guard.witnesses import Witnesses
from orchestrator.membership.forecast.histories import GroupHistory
from orchestrator.membership.forecast.newcomers import Departure, departure
from orchestrator.membership.guard.judgement import GuardFacts, Witnessed, held
from orchestrator.membership.guard.received_bundles import ReceivedBundle, final_run, history_of
from orchestrator.membership.reasons.table import Reason

MOST_NEWER: Final = 16
"""Blocks that others have already and that are looked at for a copied marker."""


class FactReader:
    """Reads what the rules need.

    Args:
        fleet: The guarded node, and others of the same operator.
        watcher: The guarded node.
        http: The same, for what only the chain tells.
        store: Keeps what was read.
        approves: Tells whether somebody here has agreed to an addition.
        witnesses: Other nodes of the same operator that may be members.
    """

    def __init__(
        self,
        fleet: Fleet,
        watcher: ChainWatcher,
        http: HttpNode,
        store: HistoryStore,
        approves: Callable[[ReceivedBundle], bool],
        witnesses: Witnesses,
    ) -> None:
        self._witnesses = witnesses
        self._fleet = fleet
        self._watcher = watcher
        self._http = http
        self._replays = NodeReplays(store)
        self._examined = ExaminedBlocks(store)
        self._approves = approves

    @property
    def own_keys(self) -> tuple[str, ...]:
        """The enclave keys that the node hosts."""
        return self._watcher.node.enclave_keys

    async def is_pending(self, key: str) -> bool:
        """Return whether a marker with a bundle's key is seen in the node's pool, or in a block that it has not yet.

        Args:
            key: The bundle's key, base64.

        Raises:
            NodeError: The node does not answer.
        """
        # The second half alone is compared: whoever copies a history's key may put any first half before it.
        half = base64.b64decode(key).hex()
        try:
            waiting = await pooled(self._http)
        except RpcError:
            waiting = {}  # the node has no such method for us: what other nodes show is left
        except BesuError as error:
            raise _unanswered(self._watcher.node.name, str(error)) from error
        inputs = (str(found.get("input")) for found in waiting.values() if isinstance(found, dict))
        if any(text[2 + len(half) :] == half for text in inputs):
            return True
        # A marker that is in a block has left the pools, and the guarded node may be about to import that block.
        others = [watcher for watcher in self._fleet.watchers if watcher is not self._watcher]
        newer = await asyncio.gather(*(_newer(w, self._watcher) for w in others), return_exceptions=True)
        return any(half in found for found in newer if isinstance(found, set))

    async def head(self) -> Head:
        """Return the node's head now.

        Raises:
            NodeError: It does not answer.
        """
        return await self._watcher.refresh()

    async def own_root(self, privacy_group_id: str, head: int) -> str:
        """Return the node's root of a group at a block; empty text when it has none.

        Raises:
            NodeError: It does not answer.
        """
        (view,) = await self._watcher.node.roots(privacy_group_id, [head])
        return view.state_root if view.exists else ""

    async def facts(self, bundle: ReceivedBundle, head: Head, others_passed: Sequence[str]) -> GuardFacts:
        """Return what the rules need to judge a bundle.

        Args:
            bundle: The bundle.
            head: The node's head.
            others_passed: Groups that the node was let replay at this head.

        Raises:
            NodeError: The node does not answer.
            StoreError: Never, with a store in memory.
        """
        own_root = await self.own_root(bundle.privacy_group_id, head.number)
        blocks: dict[str, int] = {}
        disturbed: tuple[str, ...] = ()
        found: Departure | None = None
        witness = Witnessed()
        # Reading takes calls of a node that waits with a block in hand: nothing is read that the verdict does not need.
        if held(bundle, own_root) is None and bundle.trouble is None:
            blocks = await self._located([call.pmt_hash for call in bundle.calls], head.number)
            history = history_of(bundle, blocks, head.number)
            if own_root:
                found = await self._departure(history)
            disturbed = await self._disturbed(history)
            witness = await self._witnesses.witnessed(bundle, history)
        return GuardFacts(
            bundle=bundle,
            blocks=blocks,
            head=head.number,
            own_root=own_root,
            departure=found,
            examinations=await self._examined.examine(sorted(set(blocks.values())), self._watcher),
            disturbed=disturbed,
            others_passed=tuple(group for group in others_passed if group != bundle.privacy_group_id),
            witness=witness,
            approved=self._approves(bundle),
        )

    async def _located(self, pmt_hashes: Sequence[str], head: int) -> dict[str, int]:
        """Return by marker the block that holds it; what is in no block up to the head is left out."""
        try:
            answers = await self._http.batch([Call("eth_getTransactionByHash", (pmt,)) for pmt in pmt_hashes])
        except BesuError as error:
            raise _unanswered(self._watcher.node.name, str(error)) from error
        found = {}
        for pmt_hash, answer in zip(pmt_hashes, answers, strict=True):
            if answer.error is not None:
                raise _unanswered(self._watcher.node.name, str(answer.error))
            number = (
                optional(read_quantity, answer.result.get("blockNumber")) if isinstance(answer.result, dict) else None
            )
            # A replay runs on the chain up to the parent: what is in the block at hand is in none for it.
            if number is not None and number <= head:
                found[pmt_hash] = number
        return found

    async def _departure(self, history: GroupHistory) -> Departure:
        # Roots are read anew each time: a replay that failed half way has changed old ones.
        reader = NewcomerReader(self._fleet, self._replays, NodeRoots())
        key = self._watcher.node.enclave_keys[0]
        found = await reader.read(history, [key], (), (), history.through, ask=False)
        if found is None or found[0].holds is None:
            # Not knowing is not safe: it is judged again until the time for that is over.
            why = found[0].unseen if found is not None else "more is to be read of it than in one look"
            raise _unanswered(self._watcher.node.name, str(why))
        return departure(history, found[0])

    async def _disturbed(self, history: GroupHistory) -> tuple[str, ...]:
        """Return groups of the node with a transaction in the run of blocks that ends with the head."""
        # All blocks of the run, not its last: each map of it is made anew on the one before the run
        # (docs/besu.md#how-replay-damages-other-groups, 1).
        run = final_run((block.number for block in history.blocks), history.through)
        if not run:
            return ()
        held_groups = [group for group in await self._watcher.node.groups([]) if group != history.privacy_group_id]
        if not held_groups:
            return ()
        before = await self._watcher.node.roots_of(held_groups, run.start - 1)
        disturbed: dict[str, None] = {}
        for number in run:
            after = await self._watcher.node.roots_of(held_groups, number)
            seen = zip(held_groups, before, after, strict=True)
            # Step by step: a group may return to the root that it had before the run, and lose what led there all the
            # same.
            disturbed |= dict.fromkeys(group for group, old, new in seen if new.state_root != old.state_root)
            before = after
        return tuple(disturbed)


async def _newer(watcher: ChainWatcher, guarded: ChainWatcher) -> set[str]:
    """The history keys, in hexadecimal, of markers in the next blocks that another node has and the guarded one not."""
    own, newest = (await guarded.current()).number, (await watcher.refresh()).number
    blocks = await watcher.node.blocks(range(own + 1, min(newest, own + MOST_NEWER) + 1)) if newest > own else ()
    seen = (item.addition for block in blocks if block.content is not None for item in block.content.transactions)
    return {addition.removeprefix("0x")[64:] for addition in seen if addition}


def _unanswered(node: str, detail: str) -> NodeError:
    return NodeError(Reason(slug="node_unreachable", detail=f"node {node}: {detail}"))
