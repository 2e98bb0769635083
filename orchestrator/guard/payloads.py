"""Private transactions that a node's enclave answers: are they asked for to be misread as histories?

What passes for the first time is not looked at, so that importing blocks costs nothing. The node does not get on
with what it misreads, and asks for it again, each second.
"""

import base64
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final

import structlog

from orchestrator.bounded_dicts import BoundedDict
from orchestrator.engine.nodes.fleet import Fleet
from orchestrator.engine.nodes.watcher import ChainWatcher
from orchestrator.engine.ports.clock import Clock
from orchestrator.engine.ports.nodes import NodeError
from orchestrator.guard.judgements import Judgements
from orchestrator.guard.settled_heads import SettledHeads
from orchestrator.guard.wire import PrivateCall, transaction_in
from orchestrator.membership.damage.misread_payloads import SLUG, MisreadFacts, misread, never_executes, suspicious
from orchestrator.membership.forecast.blocks import PublicTransaction
from orchestrator.membership.guard.judgement import Decision, Outcome
from orchestrator.membership.reasons.table import Reason
from orchestrator.store.guard.decisions import Decided

MOST_REMEMBERED: Final = 20_000
MOST_UNSETTLED: Final = 1_000
"""Blocks that are looked at; a node that imports more within the time after which they are settled catches up."""
HEAD_SECONDS: Final = 1.0
AGAIN_SECONDS: Final = 0.2

log = structlog.get_logger()


class PayloadReader:
    """Reads what the rules need of a private transaction.

    Args:
        fleet: The guarded node, and others of the same operator.
        watcher: The guarded node.
        is_named: Tells whether a marker with a key as its second half waits in a pool or is in the next blocks.
        confirmations: So many newest blocks may be taken back: none of them is known to stay.
    """

    def __init__(
        self,
        fleet: Fleet,
        watcher: ChainWatcher,
        is_named: Callable[[str], Awaitable[bool]],
        confirmations: int = 0,
    ) -> None:
        self._fleet = fleet
        self._watcher = watcher
        self._is_named = is_named
        self._confirmations = confirmations

    async def head(self) -> int:
        """Return the node's head.

        Raises:
            NodeError: It does not answer.
        """
        return (await self._watcher.refresh()).number

    async def facts(self, call: PrivateCall, key: str, settled_block: int | None) -> tuple[int, MisreadFacts]:
        """Return the node's head and what is seen there.

        Args:
            call: The private transaction.
            key: Its key, base64.
            settled_block: The newest block that nothing in the node works on any more; None when that is not known.

        Raises:
            NodeError: The node does not answer, or moved on meanwhile.
        """
        # All that follows is of this head, and it is asked for again at the end: facts of two heads together were never
        # true.
        head = await self.head()
        wanted = base64.b64decode(key).hex()
        # A block that may be taken back is not settled, however old: another branch may execute the transaction yet.
        first = min(settled_block, head - self._confirmations) + 1 if settled_block is not None else None
        # Too many are not looked at in part: the one that executed it may be among the rest.
        settled = first is not None and head - first < MOST_UNSETTLED
        executing = await self._executing(wanted, range(first, head + 1)) if first is not None and settled else ()
        spent = await self._spent(call, head)
        # Where blocks are replaced, the next one as another node has it need not be the one that this node imports.
        following = () if self._confirmations else await self._following(head)
        named = await self._is_named(key)
        if await self.head() != head:
            raise NodeError(Reason(slug="not_at_this_block", detail=f"node {self._watcher.node.name} moved on"))
        return head, MisreadFacts(
            named=named,
            settled=settled,
            executing=executing,
            spent=spent,
            next_names=any(item.addition[64:] == wanted for item in following if item.addition),
            next_executes=any(item.payload_key == wanted for item in following),
        )

    async def _executing(self, wanted: str, numbers: range) -> tuple[int, ...]:
        """Return the blocks with a marker of the transaction that the node does not say it refused."""
        blocks = await self._watcher.node.blocks(numbers) if numbers else ()
        held = {
            item.transaction_hash: block.number
            for block in blocks
            for item in (block.content.transactions if block.content is not None else ())
            if item.payload_key == wanted
        }
        # No receipt counts as executed: null is no answer (docs/besu.md#outcomes, 2).
        outcomes = await self._watcher.node.outcomes(list(held)) if held else ()
        return tuple(held[outcome.pmt_hash] for outcome in outcomes if outcome.executed is not False)

    async def _spent(self, call: PrivateCall, head: int) -> bool:
        # Without the group there is no private nonce to be beyond, and the node may be about to get it.
        (own,) = await self._watcher.node.roots(call.privacy_group_id, [head])
        if not own.exists:
            return False
        return await self._watcher.node.private_nonce(call.privacy_group_id, call.account) > call.private_nonce

    async def _following(self, head: int) -> tuple[PublicTransaction, ...]:
        """Return the transactions of the block after the head, as another node has it."""
        # The first that has the block is enough: it is asked only where blocks are not replaced.
        for watcher in self._fleet.watchers:
            if watcher is self._watcher:
                continue
            try:
                if (await watcher.refresh()).number <= head:
                    continue
                (block,) = await watcher.node.blocks([head + 1])
            except NodeError:
                continue
            if block.content is not None:
                return block.content.transactions
        return ()


class Payloads:
    """Decides which private transactions a node does not get.

    Args:
        reader: Reads what the rules need.
        heads: How far the node's chain is settled.
        newest: The newest decision about a key.
        tell: Told a refusal.
        clock: Time.
        within: What can't be judged in this time is given.
    """

    def __init__(
        self,
        reader: PayloadReader,
        heads: SettledHeads,
        newest: Callable[[str], Decided | None],
        tell: Callable[[Decided], None],
        clock: Clock,
        within: timedelta,
    ) -> None:
        self._reader = reader
        self._heads = heads
        self._newest = newest
        self._tell = tell
        self._clock = clock
        self._within = within
        self._asked: BoundedDict[str, tuple[int, int, int]] = BoundedDict(MOST_REMEMBERED)
        self._judgements = Judgements(self._decided)

    async def run(self) -> None:
        """Follow the node's head until cancelled."""
        while True:
            try:
                self._heads.seen(await self._reader.head(), self._clock.now())
            except NodeError as error:
                log.debug("head not seen", reason=str(error))
            await self._clock.sleep(HEAD_SECONDS)

    async def gives(self, key: str, body: Callable[[], Awaitable[bytes | None]]) -> bool:
        """Return whether a node gets a private transaction.

        Args:
            key: What it asked for, base64.
            body: Reads the enclave's answer; None when it is larger than is read.
        """
        # A look into a dictionary in the usual case: each private transaction of each block comes by here.
        if not self._suspicious(key):
            return True
        return await self._judgements.of(key, body)

    async def close(self) -> None:
        """End what is under way."""
        await self._judgements.close()

    def _suspicious(self, key: str) -> bool:
        head = self._heads.newest
        first, last, times = self._asked.get(key, (head, head, 0))
        # At one head only: who imports the blocks of a day asks for many keys, and for each once or twice.
        times = times + 1 if last == head else 1
        self._asked[key] = (first, head, times)
        return suspicious(times=times, blocks_later=head - first)

    async def _decided(self, key: str, body: bytes | None) -> bool:
        # In doubt it is given, here and below: a transaction that is kept from a node which has to execute it is lost
        # there for good, and nobody is told; a node that stands is seen, and can be brought back.
        found = transaction_in(body) if body is not None else None
        if found is None:
            return True
        try:
            head, decision = await self._clock.wait_for(self._judged(key, found), self._within.total_seconds())
        except TimeoutError:
            log.warning("private transaction given, it was not judged in time", key=key)
            return True
        except Exception as error:
            log.exception("private transaction given, it was not judged", key=key, reason=type(error).__name__)
            return True
        if decision.outcome is Outcome.PASSED:
            log.info("private transaction given", key=key, reason=decision.slug, head=head)
            return True
        # One line in the file for a head: a node that stands asks each second.
        earlier = self._newest(key)
        if earlier is None or earlier.head != head:
            self._tell(
                Decided(
                    key=key,
                    decision=decision,
                    head=head,
                    at=self._clock.now(),
                    privacy_group_id=found.privacy_group_id,
                    owner=found.account,
                )
            )
        return False

    async def _judged(self, key: str, call: PrivateCall) -> tuple[int, Decision]:
        if not call.executable:
            return await self._reader.head(), never_executes()
        while True:
            # What was settled when the node asked: it may be about to execute what came since.
            settled, earlier = self._heads.settled(self._clock.now()), self._newest(key)
            try:
                if earlier is not None and earlier.decision.slug == SLUG and earlier.head <= await self._reader.head():
                    settled = max(settled or 0, earlier.head)  # refused there: nothing up to it was at work then
                head, facts = await self._reader.facts(call, key, settled)
            except NodeError as error:
                log.debug("private transaction not judged yet", key=key, reason=str(error))
                await self._clock.sleep(AGAIN_SECONDS)
            else:
                return head, misread(facts)
