"""Watching a node's chain: one task for each node wakes all lanes that wait for a block or for a PMT.

New heads come over the node's WebSocket. While that is down the head is polled; in both cases every block between two
heads is read once, and the PMTs that somebody waits for are looked up in its list of transactions, so that waiting
costs one call for each block and node, however many lanes wait.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from datetime import timedelta

import structlog

from orchestrator.engine.nodes.kept_blocks import KEPT_BLOCKS, forget_oldest
from orchestrator.engine.ports.clock import Clock
from orchestrator.engine.ports.nodes import Block, Head, NodeError, NodePort
from orchestrator.engine.runtime.isolation import contained
from orchestrator.engine.runtime.turns import resting
from orchestrator.membership.reasons.table import Reason
from orchestrator.membership.retry import doubled

DISOWNED_AFTER = 10
"""After so many heads in a row that come without the block of the head that is known, that head is given up.

A late replica lacks a block for a moment. A node that overstated its head once never shows that block, and would be
taken for a node that does not answer, until a restart.
"""

SILENT_AFTER = 2
"""So many looks in a row that find a newer head than a subscription delivered say that it delivers none: one look may
just have come before it."""

log = structlog.get_logger()


class ChainWatcher:
    """Follows one node's chain.

    Args:
        node: The node.
        clock: Time.
        poll: How often the head is polled while there is no subscription.
    """

    def __init__(self, node: NodePort, clock: Clock, poll: timedelta = timedelta(seconds=1)) -> None:
        self.node = node
        self.head: Head | None = None
        self.subscribed = False
        self.silent = False
        self._clock = clock
        self._poll_seconds = poll.total_seconds()
        self.reorganisations = 0
        self.returns = 0
        self.gaps = 0
        self._away = False
        self._deliveries = 0
        self._silences = 0
        self._disowned = 0
        self._hashes: OrderedDict[int, str] = OrderedDict()
        self._blocks: OrderedDict[int, Block] = OrderedDict()
        self._waited_for: dict[str, int] = {}
        self._found: dict[str, Block] = {}
        self._changed = asyncio.Event()
        self._advancing = asyncio.Lock()

    async def run(self) -> None:
        """Follow the chain until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listen())
            tasks.create_task(self._poll())

    async def refresh(self) -> Head:
        """Ask the node for its head now.

        Raises:
            NodeError: It does not answer.
        """
        before = self.head
        try:
            head = await self.node.head()
        except NodeError:
            self.silent = True
            raise
        self.silent = False
        async with self._advancing:
            newer = self.head
            if newer is not None and newer is not before and newer.number >= head.number:
                return newer  # announced while the node was answering: its answer is older, and no reorganisation
            return await self._move(head)

    async def current(self) -> Head:
        """Return the head, asking the node only when nothing is known yet."""
        return self.head if self.head is not None else await self.refresh()

    async def wait_beyond(self, number: int, seconds: float) -> Head | None:
        """Return the first head above a number, or None when there is none after so long."""
        if self.head is not None and self.head.number > number:
            return self.head
        async with resting():
            try:
                return await self._clock.wait_for(self._beyond(number), seconds)
            except TimeoutError:
                return None

    async def wait_mined(self, pmt_hashes: Iterable[str], until_block: int, seconds: float) -> Block | None:
        """Wait until a block holds one of the PMTs.

        Args:
            pmt_hashes: The PMTs.
            until_block: Give up when the head is here and none was found.
            seconds: Give up after so long.

        Returns:
            The block, or None. Blocks that were imported before the call are searched as far as they are remembered.
        """
        hashes = tuple(pmt_hashes)
        for pmt_hash in hashes:
            # Counted: the end of one wait leaves another for the same PMT alone.
            self._waited_for[pmt_hash] = self._waited_for.get(pmt_hash, 0) + 1
        try:
            async with resting():
                return await self._clock.wait_for(self._mined(hashes, until_block), seconds)
        except TimeoutError:
            return None
        finally:
            for pmt_hash in hashes:
                self._waited_for[pmt_hash] -= 1
                if self._waited_for[pmt_hash] == 0:
                    del self._waited_for[pmt_hash]
                    self._found.pop(pmt_hash, None)

    async def block(self, number: int) -> Block:
        """Return a block, from memory when it is there."""
        known = self._blocks.get(number)
        return known if known is not None else await self.node.block(number)

    def remembered(self, number: int) -> Block | None:
        """Return a block of the chain as it is now, when it is in memory with its transactions in full."""
        known = self._blocks.get(number)
        return known if known is not None and known.content is not None else None

    def is_empty(self, number: int) -> bool:
        """Whether a block is known to be empty: no group changes (docs/besu.md#how-replay-damages-other-groups, 6)."""
        known = self._blocks.get(number)
        here = known is not None and self._hashes.get(number, known.block_hash) == known.block_hash
        return known is not None and here and not known.transactions

    async def in_full(self, numbers: Sequence[int]) -> tuple[Block, ...]:
        """Return blocks with all their transactions, each read once while it is remembered; may raise `NodeError`."""
        found = {number: block for number in numbers if (block := self.remembered(number)) is not None}
        unread = [number for number in numbers if number not in found]
        for block in await self.node.blocks(unread) if unread else ():
            found[block.number] = block
            if self._hashes.get(block.number) == block.block_hash:
                self._remember(block)
        return tuple(found[number] for number in numbers)

    def hash_of(self, number: int) -> str | None:
        """Return the hash of a block of the chain as it is now; None when it is not remembered."""
        return self._hashes.get(number)

    async def _beyond(self, number: int) -> Head:
        while self.head is None or self.head.number <= number:
            await self._changed.wait()
        return self.head

    async def _mined(self, hashes: tuple[str, ...], until_block: int) -> Block | None:
        # It may have been mined between the answer to its broadcast and this call.
        for block in reversed(self._blocks.values()):
            if not set(hashes).isdisjoint(block.transactions):
                return block
        while True:
            for pmt_hash in hashes:
                if pmt_hash in self._found:
                    return self._found[pmt_hash]
            if self.head is not None and self.head.number >= until_block:
                return None
            await self._changed.wait()

    async def _listen(self) -> None:
        failures = 0
        while True:
            with contained("heads", node=self.node.name):
                try:
                    async for head in self.node.heads():
                        if not self.subscribed:
                            log.info("heads subscribed", node=self.node.name)
                            self.returns += 1
                        # Only with the first head: that a node took a subscription does not say that it delivers.
                        self.subscribed, self.silent, failures = True, False, 0
                        self._deliveries, self._silences = self._deliveries + 1, 0
                        await self._advance(head)
                except NodeError as error:
                    log.debug("heads lost", node=self.node.name, reason=str(error))
            if self.subscribed:
                log.info("heads lost, polling until they are back", node=self.node.name)
                self.gaps += 1
            self.subscribed = False
            failures += 1
            await self._clock.sleep(doubled(0.2, failures, 10.0))

    async def _poll(self) -> None:
        # A subscription that is silent is polled too, only rarely: a socket can be open and deliver nothing.
        while True:
            before, heard = self.head, self._deliveries
            await self._clock.sleep(self._poll_seconds * (5 if self.subscribed and not self._silences else 1))
            # What is delivered needs no question; each costs the node a call.
            if self.subscribed and self._deliveries != heard:
                continue
            with contained("head", node=self.node.name):
                try:
                    await self.refresh()
                except NodeError as error:
                    if error.reason.slug == "not_known_here":  # it answers, only not with what was asked for
                        log.debug("head not read", node=self.node.name, reason=str(error))
                    else:
                        self._is_away(str(error))
                else:
                    self._is_back()
                    self._notice_silence(before, heard)

    def _notice_silence(self, before: Head | None, heard: int) -> None:
        """Take a subscription for none whose node has newer blocks than it delivers, until it delivers again."""
        # A head that came by the subscription meanwhile, or that no poll moved, is no sign of silence.
        if not self.subscribed or self._deliveries != heard or self.head is before:
            return
        self._silences += 1
        if self._silences >= SILENT_AFTER:
            self.subscribed = False
            log.warning("subscription is silent, polling until it delivers", node=self.node.name)

    def _is_away(self, reason: str) -> None:
        """Tell once that the node does not answer, with its reason; how it goes on is for who looks closely."""
        tell = log.debug if self._away else log.warning
        tell("node is away", node=self.node.name, reason=reason)
        self._away = True

    def _is_back(self) -> None:
        if self._away:
            log.warning("node is back", node=self.node.name)
            self.returns += 1
        self._away = False

    async def _advance(self, head: Head) -> None:
        self._is_back()
        async with self._advancing:
            try:
                await self._move(head)
            except NodeError as error:  # the next head shows the same gap, and so does the poll
                log.debug("head not placed", node=self.node.name, head=head.number, reason=str(error))

    async def _move(self, head: Head) -> Head:
        """Make a head the newest, one at a time, since blocks are read on the way; return the newest.

        Raises:
            NodeError: The node does not tell whether the head is of the chain that is known.
        """
        if self.head is not None and (head.block_hash == self.head.block_hash or await self._is_late(head, self.head)):
            return self.head
        # A node that was away may come back on another branch, higher than the head that was known.
        first = self._first_new(head, left=await self._left(head))
        # Nobody waits: then a block is not worth a call, and receipts tell of what was missed.
        if self._waited_for:
            for number in range(first, head.number):
                if not await self._read_block(number):
                    break  # receipts tell the rest; below an overstated head there are hundreds that nobody has
            if head.transactions is None:
                await self._read_block(head.number)
        if head.transactions is not None:
            block = Block(number=head.number, block_hash=head.block_hash, transactions=head.transactions)
            self._remember(block)
        self._hashes[head.number] = head.block_hash
        while len(self._hashes) > KEPT_BLOCKS:
            self._hashes.popitem(last=False)
        self.head = head
        # A new event for the next head: one that is cleared could be missed by who has not been woken yet.
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
        return head

    async def _is_late(self, head: Head, newest: Head) -> bool:
        """Whether a head is an older one of the same chain: of a replica that lags, or announced before a poll."""
        if head.number > newest.number:
            return False
        known = self._hashes.get(head.number)
        if known is not None:
            return known == head.block_hash
        try:
            kept = (await self.node.block(newest.number)).block_hash == newest.block_hash
        except NodeError as error:
            if error.reason.slug != "not_known_here":
                raise
            self._disowned += 1
            if self._disowned < DISOWNED_AFTER:
                raise
            log.warning("head given up", node=self.node.name, head=newest.number, shown=head.number)
            kept = False
        self._disowned = 0
        return kept

    async def _left(self, head: Head) -> bool:
        """Whether the chain may have left the head that is known: over a gap no parent's hash tells."""
        before = self.head
        if before is None or head.number <= before.number + 1:
            return False
        return (await self.node.block(before.number)).block_hash != before.block_hash

    def _first_new(self, head: Head, *, left: bool) -> int:
        """Return the first block to be read for a new head; forget all when the chain was reorganised."""
        known = self._hashes
        same = known.get(head.number, head.block_hash) == head.block_hash
        follows = known.get(head.number - 1, head.parent_hash) == head.parent_hash
        if self.head is None:
            return head.number
        if same and follows and not left and head.number > self.head.number:
            return max(self.head.number + 1, head.number - KEPT_BLOCKS + 1)
        log.warning("chain reorganised", node=self.node.name, head=head.number, previous=self.head.number)
        self.reorganisations += 1
        # How deep it went is not known: whatever is remembered may be of the old branch.
        oldest = min(self._blocks, default=head.number)
        self._hashes.clear()
        self._blocks.clear()
        self._found.clear()
        return max(min(oldest, head.number), head.number - KEPT_BLOCKS + 1)

    async def _read_block(self, number: int) -> bool:
        try:
            # In full, since what accounts sent in it is asked for next (docs/besu.md#what-a-replay-needs).
            (block,) = await self.node.blocks([number])
        except NodeError as error:
            log.warning("block not read", node=self.node.name, block=number, reason=str(error))
            return False
        self._remember(block)
        return True

    def _remember(self, block: Block) -> None:
        self._blocks[block.number] = block
        forget_oldest(self._blocks)
        for pmt_hash in block.transactions:
            if pmt_hash in self._waited_for:
                self._found[pmt_hash] = block


def silence(node: str) -> NodeError:
    """Return the error of a node whose chain makes no blocks."""
    return NodeError(Reason(slug="no_head", detail=f"node {node} has announced no block for long"))
