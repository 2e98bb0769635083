"""Handing out marker accounts, on the fake network."""

import asyncio
from collections.abc import Mapping

import pytest

from orchestrator.engine.attempts import marker_accounts
from orchestrator.engine.attempts.marker_accounts import PATIENCE_BLOCKS, AccountPool
from orchestrator.engine.nodes.watcher import ChainWatcher
from orchestrator.engine.ports.nodes import NodeError
from orchestrator.membership.reasons.table import Reason
from tests.fakes.clock import JumpingClock
from tests.fakes.network import FakeNetwork, FakeNode


class Ledger:
    """One replica's view of the store: the newest nonce of each account that was given away."""

    def __init__(self) -> None:
        self.given: dict[str, int] = {}

    async def reserve_marker_nonce(self, account: str, account_nonce: int, attempt_id: str) -> bool:  # noqa: ARG002 - the port names it
        if self.given.get(account, -1) >= account_nonce:
            return False
        self.given[account] = account_nonce
        return True

    async def free_marker_nonce(self, account: str, account_nonce: int, attempt_id: str) -> None:  # noqa: ARG002 - the port names it
        self.given[account] = account_nonce - 1


class Counting:
    """A node that counts what each account has in its blocks."""

    def __init__(self) -> None:
        self.network = FakeNetwork()
        self.node = FakeNode(self.network, "node-a", "a")
        self.counts: dict[str, int] = {}
        self.asked = 0
        self.watcher = ChainWatcher(self.node, JumpingClock())
        self.node.account_nonce = self.account_nonce  # type: ignore[method-assign] # the fake network has no accounts

    async def account_nonce(self, account: str, block_number: int | None = None) -> int:  # noqa: ARG002 - the port names it
        self.asked += 1
        return self.counts.get(account, 0)

    async def mine(self, *accounts: str) -> None:
        for account in accounts:
            self.counts[account] = self.counts.get(account, 0) + 1
        self.network.mine()
        await self.watcher.refresh()


@pytest.fixture
async def counting() -> Counting:
    made = Counting()
    await made.watcher.refresh()
    return made


async def test_an_account_has_one_marker_at_a_time(counting: Counting) -> None:
    """It is free again when a block holds what it signed, and its next nonce is the one after."""
    pool = AccountPool(["x", "y"], Ledger())
    first = await pool.take(counting.watcher, "1", urgent=False)
    second = await pool.take(counting.watcher, "2", urgent=False)
    assert {first.account, second.account} == {"x", "y"}
    waiting = asyncio.create_task(pool.take(counting.watcher, "3", urgent=False))
    await asyncio.sleep(0)
    assert not waiting.done()
    await counting.mine("y")
    third = await waiting
    assert (third.account, third.account_nonce) == ("y", 1)


async def test_blocks_without_its_marker_do_not_free_an_account(counting: Counting) -> None:
    """A marker that is still pending may be mined in the next block, where a second one of its account must not be."""
    pool = AccountPool(["x"], Ledger())
    await pool.take(counting.watcher, "1", urgent=False)
    waiting = asyncio.create_task(pool.take(counting.watcher, "2", urgent=False))
    for _ in range(PATIENCE_BLOCKS + 2):
        await asyncio.sleep(0)
        await counting.mine()
    with pytest.raises(NodeError) as refused:
        await waiting
    assert refused.value.reason.slug == "marker_accounts_busy"


async def test_what_a_locked_group_waits_for_comes_first(counting: Counting) -> None:
    """An addition or an unlock gets the next free account, however long others have waited for their locks."""
    pool = AccountPool(["x"], Ledger())
    await pool.take(counting.watcher, "1", urgent=False)
    patient = asyncio.create_task(pool.take(counting.watcher, "2", urgent=False))
    await asyncio.sleep(0)
    urgent = asyncio.create_task(pool.take(counting.watcher, "3", urgent=True))
    await asyncio.sleep(0)
    await counting.mine("x")
    assert (await urgent).account_nonce == 1
    assert not patient.done()
    await counting.mine("x")
    assert (await patient).account_nonce == 2


async def test_what_came_to_nothing_is_given_back(counting: Counting) -> None:
    """A node that refuses the distribution has not used the account's nonce."""
    pool = AccountPool(["x"], Ledger())
    taken = await pool.take(counting.watcher, "1", urgent=False)
    await pool.give_back(taken, "1")
    assert await pool.take(counting.watcher, "2", urgent=False) == taken


async def test_another_replica_has_other_accounts(counting: Counting) -> None:
    """The store tells what another replica gave away, which no block shows yet."""
    ledger = Ledger()
    first, second = AccountPool(["x", "y"], ledger), AccountPool(["x", "y"], ledger)
    taken = [await pool.take(counting.watcher, "1", urgent=False) for pool in (first, second)]
    assert {account.account for account in taken} == {"x", "y"}


async def test_counts_are_read_once_a_block(counting: Counting) -> None:
    """A hundred lanes that wait for one account ask the node no more than one of them."""
    pool = AccountPool(["x"], Ledger())
    await pool.take(counting.watcher, "0", urgent=False)
    waiting = [asyncio.create_task(pool.take(counting.watcher, str(n), urgent=False)) for n in range(1, 20)]
    await asyncio.sleep(0)
    before = counting.asked
    await counting.mine()
    await asyncio.sleep(0)
    assert counting.asked - before <= 1
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_what_the_urgent_leave_over_is_given_for_the_same_block(counting: Counting) -> None:
    """A lock that let an addition go first does not wait for another block when an account is left."""
    pool = AccountPool(["x", "y", "z"], Ledger())
    for attempt in "123":
        await pool.take(counting.watcher, attempt, urgent=False)
    addition = asyncio.create_task(pool.take(counting.watcher, "4", urgent=True))
    lock = asyncio.create_task(pool.take(counting.watcher, "5", urgent=False))
    await asyncio.sleep(0)
    await counting.mine("x", "y")
    async with asyncio.timeout(30):
        assert {(await addition).account, (await lock).account} == {"x", "y"}


async def test_an_account_that_is_given_back_is_given_again_at_once(counting: Counting) -> None:
    """Its attempt came to nothing: who waits need not wait for a block."""
    pool = AccountPool(["x"], Ledger())
    account = await pool.take(counting.watcher, "1", urgent=False)
    waiting = asyncio.create_task(pool.take(counting.watcher, "2", urgent=False))
    await asyncio.sleep(0)
    await pool.give_back(account, "1")
    async with asyncio.timeout(30):
        assert await waiting == account


async def test_a_node_that_does_not_tell_an_accounts_count_holds_up_its_own_lanes_alone(counting: Counting) -> None:
    """One that answers everything but this would else keep every other node's lanes from signing, also under a lock."""
    silent = Counting()
    await silent.watcher.refresh()
    silent.node.name = "node-b"
    asked, never = list[str](), asyncio.Event()

    async def account_nonce(account: str, block_number: int | None = None) -> int:
        asked.append(account)
        await never.wait()
        raise NodeError(Reason(slug="node_unreachable"))

    silent.node.account_nonce = account_nonce  # type: ignore[method-assign] # it takes the question and never answers
    pool = AccountPool(["x", "y"], Ledger())
    held_up = [asyncio.create_task(pool.take(silent.watcher, str(number), urgent=True)) for number in range(10)]
    for _ in range(20):
        await asyncio.sleep(0)
    taken = await asyncio.wait_for(pool.take(counting.watcher, "other", urgent=True), 5)
    assert (taken.account, taken.account_nonce) == ("x", 0)
    never.set()
    assert {type(one) for one in await asyncio.gather(*held_up, return_exceptions=True)} == {NodeError}
    assert asked == ["x"], "one time-out for all who waited"


class Three:
    """Three nodes of one chain, which count alike what accounts have in its blocks."""

    def __init__(self) -> None:
        self.network = FakeNetwork()
        self.counts: dict[str, int] = {}
        self.nodes = [FakeNode(self.network, f"node-{key}", key) for key in "abc"]
        self.watchers = [ChainWatcher(node, JumpingClock()) for node in self.nodes]
        for node in self.nodes:
            self.shows(node, self.counts)

    def shows(self, node: FakeNode, counts: Mapping[str, int], otherwise: int = 0) -> None:
        async def account_nonce(account: str, block_number: int | None = None) -> int:
            return counts.get(account, otherwise)

        node.account_nonce = account_nonce  # type: ignore[method-assign] # the fake network has no accounts

    async def mine(self, *accounts: str) -> None:
        for account in accounts:
            self.counts[account] = self.counts.get(account, 0) + 1
        self.network.mine()
        for watcher in self.watchers:
            await watcher.refresh()


async def test_a_node_that_overstates_an_account_takes_it_from_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Believed it would give away a nonce beyond all others, and no lane could ever use the account again."""
    monkeypatch.setattr(marker_accounts, "SILENCE_SECONDS", 0.01)
    three = Three()
    await three.mine()
    three.shows(three.nodes[2], {}, otherwise=2**40)
    pool = AccountPool(["x"], Ledger(), three.watchers)
    with pytest.raises(NodeError):
        await pool.take(three.watchers[2], "1", urgent=False)
    assert (await pool.take(three.watchers[0], "2", urgent=False)).account_nonce == 0


async def test_a_node_that_calls_an_account_free_too_early_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two markers of one account in a block would close the block's groups, which that node need not be in."""
    monkeypatch.setattr(marker_accounts, "SILENCE_SECONDS", 0.01)
    three = Three()
    await three.mine()
    pool = AccountPool(["x"], Ledger(), three.watchers)
    await pool.take(three.watchers[0], "1", urgent=False)
    three.shows(three.nodes[2], {"x": 1})
    with pytest.raises(NodeError):
        await pool.take(three.watchers[2], "2", urgent=False)
    await three.mine("x")
    assert (await pool.take(three.watchers[2], "3", urgent=False)).account_nonce == 1


async def test_one_node_that_counts_nothing_or_hangs_contradicts_nobody() -> None:
    """A second one that has the block is enough, however many do not."""
    three = Three()
    await three.mine("x")

    async def hangs(account: str, block_number: int | None = None) -> int:
        raise AssertionError(await asyncio.Event().wait(), account, block_number)

    three.nodes[2].account_nonce = hangs  # type: ignore[method-assign] # it answers for its head and for nothing else
    pool = AccountPool(["x", "y"], Ledger(), three.watchers)
    async with asyncio.timeout(marker_accounts.CONFIRM_SECONDS / 2):
        assert (await pool.take(three.watchers[0], "1", urgent=False)).account_nonce == 1
    three.shows(three.nodes[2], {})
    assert (await pool.take(three.watchers[1], "2", urgent=False)).account == "y"


async def test_a_second_node_that_is_a_moment_late_is_waited_for() -> None:
    """The block that frees an account comes to one node before the other: that costs no further block."""
    three = Three()
    await three.mine()
    pool = AccountPool(["x"], Ledger(), three.watchers)
    await pool.take(three.watchers[0], "1", urgent=False)
    old = dict(three.counts)
    three.shows(three.nodes[1], old)
    three.shows(three.nodes[2], {})
    three.counts["x"] = 1
    three.network.mine()
    await three.watchers[0].refresh()
    taking = asyncio.create_task(pool.take(three.watchers[0], "2", urgent=False))
    for _ in range(20):
        await asyncio.sleep(0)
    assert not taking.done()
    old["x"] = 1
    await three.watchers[1].refresh()
    async with asyncio.timeout(5):
        assert (await taking).account_nonce == 1


async def test_an_urgent_attempt_whose_node_shows_no_free_account_holds_up_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A group that is locked through such a node would else keep all other groups from being locked."""
    monkeypatch.setattr(marker_accounts, "GIVE_WAY_SECONDS", 0.02)
    three = Three()
    await three.mine("x")
    three.shows(three.nodes[2], {}, otherwise=-1)
    pool = AccountPool(["x"], Ledger(), three.watchers)
    urgent = asyncio.create_task(pool.take(three.watchers[2], "1", urgent=True))
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        assert (await pool.take(three.watchers[0], "2", urgent=False)).account_nonce == 1
    urgent.cancel()
    await asyncio.gather(urgent, return_exceptions=True)
