"""Which account signs the next marker: one that nobody knows, or a free one of those that the network permits.

A block with two transactions of one account can't be replayed, and no group with a transaction in it can be extended
any more (docs/besu.md#what-a-replay-needs). So an account of the pool is free only when a block holds all that it
signed: its next marker is then mined in a later one. What burns a marker takes the marker's own nonce and counts as it.

All lanes share these accounts, so that no lane's node alone decides about one: an account that a node overstates would
be taken from all others for good, and one that it calls free too early might sign twice in a block.
"""

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, Protocol

from orchestrator.bounded_dicts import BoundedDict
from orchestrator.engine.nodes.watcher import ChainWatcher
from orchestrator.engine.ports.nodes import Head, MarkerAccount, NodeError, is_silence
from orchestrator.membership.reasons.table import Reason
from orchestrator.shared_reads import ReadingLock

PATIENCE_BLOCKS = 20
"""Blocks in which a free account is waited for before the lane lets others go on."""

MOST_COUNTS = 1_000
"""Counts of accounts' transactions that are remembered, each of a node and a block."""

SILENCE_SECONDS = 10.0
"""How long a chain may stand while an account is waited for."""

CONFIRM_SECONDS = 1.0
"""How long a second node may take to show what the first one counts."""

GIVE_WAY_SECONDS = 1.0
"""How long others let an urgent attempt go first: where accounts are free then, its node does not show them."""

_CAN_BE_OUTVOTED = 3
"""Of so many nodes two that agree say more than one."""


class MarkerAccounts(Protocol):
    """Hands out accounts for markers."""

    async def take(self, watcher: ChainWatcher, attempt_id: str, *, urgent: bool) -> MarkerAccount:
        """Return an account and nonce for one attempt's marker.

        Args:
            watcher: The node that the attempt is sent through.
            attempt_id: The attempt.
            urgent: Whether a group is locked meanwhile: such attempts come first.

        Raises:
            NodeError: None is free (`marker_accounts_busy`), or the node does not answer.
            StoreError: The store does not answer.
        """

    async def give_back(self, account: MarkerAccount, attempt_id: str) -> None:
        """Free an account whose attempt came to nothing before its marker was stored.

        Raises:
            StoreError: The store does not answer; the account is free again after a while.
        """


class Ledger(Protocol):
    """Remembers, for all replicas, which nonce of an account is whose. Every method may raise `StoreError`."""

    async def reserve_marker_nonce(self, account: str, account_nonce: int, attempt_id: str) -> bool:
        """Give a nonce to an attempt; False when a live attempt has it, or a newer one was given away."""

    async def free_marker_nonce(self, account: str, account_nonce: int, attempt_id: str) -> None:
        """Take a nonce back from an attempt that was never stored."""


class OneTimeAccounts:
    """A fresh account for each marker.

    Args:
        draw: Makes one.
    """

    def __init__(self, draw: Callable[[], MarkerAccount]) -> None:
        self._draw = draw

    async def take(  # a fresh one depends on nothing
        self,
        watcher: ChainWatcher,  # noqa: ARG002 - the port names it, who pools accounts uses it
        attempt_id: str,  # noqa: ARG002 - the port names it, who pools accounts uses it
        *,
        urgent: bool,  # noqa: ARG002 - the port names it, who pools accounts uses it
    ) -> MarkerAccount:
        """Return a fresh account; see `MarkerAccounts`."""
        return self._draw()

    async def give_back(self, account: MarkerAccount, attempt_id: str) -> None:
        """Forget it."""


class AccountPool:
    """The configured accounts, each with one marker in the pools at a time.

    Args:
        addresses: Theirs.
        ledger: The store's record of their nonces.
        watchers: All nodes: where there are three, two have to show that an account is free.
    """

    def __init__(self, addresses: Iterable[str], ledger: Ledger, watchers: Sequence[ChainWatcher] = ()) -> None:
        self._ledger = ledger
        self._watchers = tuple(watchers)
        self._given: OrderedDict[str, int] = OrderedDict((address, -1) for address in addresses)
        self._counts: BoundedDict[tuple[str, str, str], int] = BoundedDict(MOST_COUNTS)
        self._reading: dict[str, ReadingLock] = {}
        self._scanning = asyncio.Lock()
        self._urgent = 0
        self._news = asyncio.Event()

    async def take(self, watcher: ChainWatcher, attempt_id: str, *, urgent: bool) -> MarkerAccount:
        """Return a free account, waiting for one for some blocks; see `MarkerAccounts`."""
        self._urgent += urgent
        try:
            began_at = (await watcher.current()).number
            # Blocks and not seconds: an account is free when a block has its marker.
            while (head := await watcher.current()).number < began_at + PATIENCE_BLOCKS:
                news = self._news
                if not urgent:
                    await self._give_way()
                account = await self._free(watcher, attempt_id)
                if account is not None:
                    return account
                if not await _either(watcher.wait_beyond(head.number, SILENCE_SECONDS), news.wait()):
                    break
        finally:
            self._urgent -= urgent
            if urgent and not self._urgent:
                self._tell()
        detail = f"each of the {len(self._given)} marker accounts has a transaction that is not mined yet"
        raise NodeError(Reason(slug="marker_accounts_busy", detail=detail))

    async def give_back(self, account: MarkerAccount, attempt_id: str) -> None:
        """Free an account; see `MarkerAccounts`."""
        await self._ledger.free_marker_nonce(account.account, account.account_nonce, attempt_id)
        # Only if it was the last: a later nonce that was given on this one's must not be given again.
        if self._given.get(account.account) == account.account_nonce:
            self._given[account.account] -= 1
            self._tell()

    async def _give_way(self) -> None:
        """Wait while a group is locked for an urgent attempt: the next free account is its, whoever came first."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GIVE_WAY_SECONDS):
                while self._urgent:
                    await self._news.wait()

    def _tell(self) -> None:
        """Wake who waits: what the urgent left over, or an account that is given back, can sign for the next block."""
        self._news.set()
        self._news = asyncio.Event()

    async def _free(self, watcher: ChainWatcher, attempt_id: str) -> MarkerAccount | None:
        for address in list(self._given):
            # Outside the lock, which is that of all nodes: one that answers everything but this holds up its own.
            count = await self._count(watcher, address)
            if count <= self._given[address] or not await self._is_confirmed(watcher, address, count):
                continue
            async with self._scanning:
                # What this process gave away it knows; what others did, the store: of two that ask at once one is
                # refused there.
                if count <= self._given[address]:
                    continue
                if await self._ledger.reserve_marker_nonce(address, count, attempt_id):
                    self._given[address] = count
                    self._given.move_to_end(address)  # the one that rested longest comes first
                    return MarkerAccount(account=address, account_nonce=count)
        return None

    async def _is_confirmed(self, watcher: ChainWatcher, address: str, count: int) -> bool:
        """Whether a second node shows as many transactions of an account, where there are enough to contradict one."""
        if len(self._watchers) < _CAN_BE_OUTVOTED:
            return True
        others = [other for other in self._watchers if other is not watcher]
        number = (await watcher.current()).number
        asked = [asyncio.ensure_future(self._shows(other, address, count, number)) for other in others]
        try:
            async with asyncio.timeout(CONFIRM_SECONDS):
                for answer in asyncio.as_completed(asked):
                    if await answer:
                        return True
        except TimeoutError:
            pass
        finally:
            for task in asked:
                task.cancel()
            await asyncio.gather(*asked, return_exceptions=True)
        return False

    async def _shows(self, other: ChainWatcher, address: str, count: int, number: int) -> bool:
        try:
            if await self._count(other, address) >= count:
                return True
            # The block that frees the account may be about to come to this one, too.
            late = (await other.current()).number < number
            if not late or await other.wait_beyond(number - 1, CONFIRM_SECONDS) is None:
                return False
            return await self._count(other, address) >= count
        except NodeError:
            return False

    async def _count(self, watcher: ChainWatcher, address: str) -> int:
        """How many transactions of an account the node's blocks hold; read once a block."""
        async with self._reading.setdefault(watcher.node.name, ReadingLock(is_silence)).turn():
            head = await watcher.current()
            # By the hash: after a reorganisation the same number has other counts.
            key = (watcher.node.name, head.block_hash, address)
            if key not in self._counts:
                self._counts[key] = await watcher.node.account_nonce(address, head.number)
            return self._counts[key]


async def _either(beyond: Coroutine[Any, Any, Head | None], news: Coroutine[Any, Any, bool]) -> bool:
    """Wait for a block or for news; False when neither came."""
    tasks = [asyncio.ensure_future(beyond), asyncio.ensure_future(news)]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return any(task.result() for task in done)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
