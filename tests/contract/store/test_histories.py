"""What was read of the chain is kept, on both databases."""

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from orchestrator.engine.history.ports import KeptBlocks, KeptLogs, Mark
from orchestrator.membership.forecast.blocks import Examination, Flaw, FlawedTransactions
from orchestrator.membership.forecast.histories import GroupBlock
from orchestrator.membership.forecast.memberships import MembershipLog
from orchestrator.store import Database, SqlHistoryStore
from orchestrator.store.commits.shared_transactions import Job, run_all
from orchestrator.store.commits.transaction import Transaction

GROUP = "Z3JvdXAtb25lLW9mLXRoZS1jb250cmFjdC10ZXN0cyE="
OTHER = "Z3JvdXAtdHdvLW9mLXRoZS1jb250cmFjdC10ZXN0cyE="


def block(number: int, branch: str = "a") -> GroupBlock:
    return GroupBlock(number=number, block_hash=f"0x{branch}{number}", state_root=f"root {branch}{number}")


def log(number: int, member: str, *, added: bool = True, group: str = GROUP) -> MembershipLog:
    return MembershipLog(
        privacy_group_id=group, block_number=number, block_hash=f"0xa{number}", member=member, added=added
    )


async def test_a_group_that_was_not_read_has_no_mark(histories: SqlHistoryStore) -> None:
    """Nothing kept is not the same as nothing there."""
    assert await histories.group_blocks(GROUP) == KeptBlocks()
    assert await histories.membership_logs("a key") == KeptLogs()


async def test_a_groups_blocks_grow_and_are_given_back_in_order(histories: SqlHistoryStore) -> None:
    """What is kept later follows what was kept before; groups do not mix."""
    first, second = Mark(number=9, block_hash="0xa9"), Mark(number=20, block_hash="0xa20")
    await histories.keep_group_blocks(GROUP, 0, [block(3), block(8)], first)
    await histories.keep_group_blocks(OTHER, 0, [block(3)], first)
    await histories.keep_group_blocks(GROUP, 9, [block(12)], second)
    assert await histories.group_blocks(GROUP) == KeptBlocks(blocks=(block(3), block(8), block(12)), mark=second)
    assert await histories.group_blocks(OTHER) == KeptBlocks(blocks=(block(3),), mark=first)


async def test_many_groups_are_kept_in_one_commit(
    histories: SqlHistoryStore, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lanes that keep their groups' blocks at the same moment share a transaction, whichever came first."""
    commits: list[int] = []

    def counted(transaction: Transaction, jobs: Sequence[Job]) -> list[Any | Exception]:
        commits.append(len(jobs))
        return run_all(transaction, jobs)

    # There is no public way to see which units of work shared a transaction.
    monkeypatch.setattr("orchestrator.store.commits.database.run_all", counted)
    free, mark = threading.Event(), Mark(number=9, block_hash="0xa9")
    held_up = asyncio.create_task(database.write(lambda _: free.wait(10), key=GROUP))
    kept = [asyncio.create_task(histories.keep_group_blocks(g, 0, [block(3)], mark)) for g in (OTHER, GROUP)]
    await asyncio.sleep(0)
    free.set()
    await asyncio.gather(held_up, *kept)
    assert sum(commits) == 3
    assert len(commits) <= 2
    for group in (GROUP, OTHER):
        assert await histories.group_blocks(group) == KeptBlocks(blocks=(block(3),), mark=mark)


async def test_blocks_of_another_branch_take_the_place_of_those_above_the_fork(histories: SqlHistoryStore) -> None:
    """After a reorganisation nothing of the old branch is left above the fork."""
    await histories.keep_group_blocks(GROUP, 0, [block(3), block(8), block(9)], Mark(number=9, block_hash="0xa9"))
    mark = Mark(number=8, block_hash="0xb8")
    await histories.keep_group_blocks(GROUP, 3, [block(8, "b")], mark)
    assert await histories.group_blocks(GROUP) == KeptBlocks(blocks=(block(3), block(8, "b")), mark=mark)


async def test_two_replicas_may_keep_the_same_blocks(histories: SqlHistoryStore) -> None:
    """The same rows, written again, are no conflict."""
    for _ in range(2):
        await histories.keep_group_blocks(GROUP, 5, [block(6)], Mark(number=6, block_hash="0xa6"))
        await histories.keep_group_blocks(GROUP, 0, [block(3), block(6)], Mark(number=6, block_hash="0xa6"))
    assert (await histories.group_blocks(GROUP)).blocks == (block(3), block(6))


async def test_examinations_are_given_back_as_they_were(histories: SqlHistoryStore) -> None:
    """Every finding of a block is kept with it, and many blocks can be asked for at once."""
    twice = FlawedTransactions(flaw=Flaw.ACCOUNT_TWICE, account="0xa", transactions=("0x1", "0x2"))
    fine = [Examination(number=number, block_hash=f"0xa{number}") for number in range(1, 1200)]
    bad = Examination(number=1200, block_hash="0xa1200", flaws=(twice,), unsettling=("0x3",))
    await histories.keep_examinations([*fine, bad])
    assert set(await histories.examinations(range(1, 3000))) == {*fine, bad}
    assert await histories.newest_examinations(2, 1200, "a") == (fine[-1], fine[-2])
    await histories.forget_examinations(1199, "")
    assert await histories.examinations([1199, 1200]) == (fine[-1],)


async def test_a_nodes_logs_are_written_over_as_a_whole(histories: SqlHistoryStore) -> None:
    """A node's additions and removals come back in their order; another node's are its own."""
    mark = Mark(number=9, block_hash="0xa9")
    logs = (log(2, "a"), log(2, "b"), log(5, "b", added=False), log(4, "b", group=OTHER))
    await histories.keep_membership_logs("a key", logs[:2], mark)
    await histories.keep_membership_logs("another key", logs[3:], mark)
    await histories.keep_membership_logs("a key", logs[:3], mark)
    assert await histories.membership_logs("a key") == KeptLogs(logs=logs[:3], mark=mark)
    assert await histories.membership_logs("another key") == KeptLogs(logs=logs[3:], mark=mark)


async def test_what_was_kept_is_there_after_a_restart(store_url: str) -> None:
    """A daemon that starts anew goes on where the last one was."""
    mark = Mark(number=3, block_hash="0xa3")
    async with Database(store_url) as database:
        await SqlHistoryStore(database).keep_group_blocks(GROUP, 0, [block(3)], mark)
    async with Database(store_url) as database:
        assert await SqlHistoryStore(database).group_blocks(GROUP) == KeptBlocks(blocks=(block(3),), mark=mark)
