"""Additions of all lanes and replicas that may make one node replay at the same time.

How far another lane's addition is, that lane was told by its own group's nodes, of which each may lie. So who has to
wait for it asks the node that would replay both: when that has imported the block that decided the other's marker, the
other one is over for it.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from orchestrator.bounded_dicts import BoundedDict
from orchestrator.engine.nodes.fleet import Fleet
from orchestrator.engine.ports.clock import Clock
from orchestrator.engine.ports.nodes import NodeError
from orchestrator.engine.ports.records import ChangeFilter
from orchestrator.membership.attempt import Action
from orchestrator.membership.forecast.schedule import (
    ADDS,
    Precedence,
    ReplayRules,
    additions_of,
    bundling_obstacle,
    busy,
    may_replay,
    precedence,
)
from orchestrator.membership.forecast.verdict import Forecast
from orchestrator.membership.model import Change
from orchestrator.membership.reasons.table import Reason
from orchestrator.shared_reads import SharedReads

UNDER_WAY: Final = ChangeFilter(states=tuple(sorted(ADDS)))
"""The changes that an addition has to look at before it begins."""

LOCK_PERIODS: Final = 10
LEAST_LOCK: Final = timedelta(seconds=10)
"""For so many block periods, and so long at the least, others wait for a change that only holds a lock. It looks at
them before it sends its addition, so that nothing is risked then."""

MOST_REMEMBERED: Final = 10_000


class AdditionsUnderWay:
    """Looks at the others before an addition begins; the rules are in `membership.forecast.schedule`.

    Args:
        changes: Reads the changes that are `UNDER_WAY` from the store.
        rules: How replays are kept apart.
        fleet: The nodes.
        clock: Time.
        confirmations: How many blocks below a node's head count as mined for good.
    """

    def __init__(
        self,
        changes: Callable[[], Awaitable[Sequence[Change]]],
        rules: ReplayRules,
        fleet: Fleet,
        clock: Clock,
        confirmations: int = 0,
    ) -> None:
        self._changes = changes
        self._rules = rules
        self._fleet = fleet
        self._clock = clock
        self._confirmations = confirmations
        self._first_seen: BoundedDict[tuple[str, str, int], datetime] = BoundedDict(MOST_REMEMBERED)
        # A hundred additions at once would each read all hundred.
        self._shared = SharedReads(self._read)

    async def _read(self, _: Sequence[None]) -> Mapping[None, Sequence[Change]]:
        return {None: await self._changes()}

    async def busy(self, change: Change, forecast: Forecast) -> Reason | None:
        """Return why a group should not be locked for an addition yet.

        Raises:
            StoreError: The store does not answer.
        """
        mine = additions_of(change.change_id, change.privacy_group_id, forecast.replays)
        if not mine:
            return None
        for other in await self._shared.of(None):
            reason = busy(mine, other, self._rules) if other.change_id != change.change_id else None
            if reason is not None and not await self._is_over(other, {one.node for one in mine}):
                return reason
        return None

    async def replaying(self, change: Change, node: str, head: int) -> Reason | None:
        """Return why what a node bundled while a block came may be torn.

        Args:
            change: The change whose addition the node is to send.
            node: The node's name.
            head: Its head, up to which it is known what it replayed.

        Raises:
            StoreError: The store does not answer.
        """
        for other in await self._shared.of(None):
            reason = bundling_obstacle(change.change_id, node, other)
            if reason is not None and not await self._is_over(other, {node}, head):
                return reason
        return None

    async def precedence(self, change: Change) -> Precedence | None:
        """Return which addition goes before one that is signed and stored.

        Raises:
            StoreError: The store does not answer.
        """
        if change.plan is None or not change.plan.replays:
            return None
        nodes = {one.node for one in change.plan.replays if one.node is not None}
        for other in await self._shared.of(None):
            found = precedence(change, other, self._rules)
            # What was replayed since the lock was not looked at when this one was signed.
            if found is not None and not await self._is_over(other, nodes, change.lock_block or 0):
                return found
        return None

    async def _is_over(self, other: Change, nodes: Collection[str], through: int | None = None) -> bool:
        """Whether nodes say themselves that another addition is over for them, at a block that they have.

        Args:
            other: The change that adds.
            nodes: The nodes, by name, that this one is about.
            through: The newest block that counts; None for each node's head.
        """
        if not may_replay(other):
            return self._has_stood(other)
        replays = other.plan.replays if other.plan is not None else ()
        both = {one.node for one in replays if one.node is not None} & set(nodes)
        for node in sorted(both):
            if not await self._has_decided(other, node, through):
                return False
        return True

    async def _has_decided(self, other: Change, node: str, through: int | None) -> bool:
        attempt = other.attempt
        if attempt is None or attempt.action is not Action.ADD:
            return False
        try:
            watcher = self._fleet.named(node)
            head = (await watcher.current()).number
            last = min(head, head if through is None else through) - self._confirmations
            if last < 0:
                return False
            # The marker's nonce, or what burnt it: either was imported, and with the marker what is to be replayed.
            if attempt.marker.ours:
                used = await watcher.node.account_nonce(attempt.marker.account, last)
                return used > attempt.marker.account_nonce
            mined = [outcome.block_number for outcome in await watcher.node.outcomes(attempt.pmt_hashes)]
        except NodeError:
            return False
        return any(number is not None and number <= last for number in mined)

    def _has_stood(self, other: Change) -> bool:
        """Whether a change has only held its lock for long: its group's nodes may keep it from getting on."""
        now, key = self._clock.now(), (other.change_id, other.state.value, other.tries)
        first = self._first_seen.setdefault(key, now)
        return now - first > max(LOCK_PERIODS * self._rules.block_period, LEAST_LOCK)
