"""What the watch over new blocks found is kept, on both databases."""

from orchestrator.engine.history.ports import Mark
from orchestrator.membership.damage.unextendable import SeenAddition, Unextendable, WatchTally
from orchestrator.membership.forecast.blocks import Examination, Flaw, FlawedTransactions
from orchestrator.membership.forecast.histories import GroupBlock
from orchestrator.store import Database, SqlHistoryStore
from orchestrator.store.stores.block_watch_store import SqlWatchRecord

FLAW = FlawedTransactions(flaw=Flaw.ACCOUNT_TWICE, account="0xp", transactions=("0x1", "0x2"))


def bad(number: int, branch: str = "a") -> Examination:
    return Examination(number=number, block_hash=f"0x{branch}{number}", flaws=(FLAW,))


def addition(name: str, number: int, content: str = "ab" * 64) -> SeenAddition:
    return SeenAddition(addition=content, transaction_hash=name, sender="0xs", block_number=number)


async def test_nothing_watched_has_no_mark(database: Database) -> None:
    """A store of before the first look says so."""
    assert await SqlWatchRecord(database).watched() == (None, WatchTally())


async def test_the_newest_look_takes_the_place_of_the_one_before(database: Database) -> None:
    """Mark and tally are one record, written over by each look."""
    record = SqlWatchRecord(database)
    tally = WatchTally(blocks=9, account_twice=2, newest_twice=7, account="0xp", repeated=1, newest_repeated="0xr")
    await record.keep_watched(Mark(number=3, block_hash="0xa3"), WatchTally(blocks=3), ())
    await record.keep_watched(Mark(number=9, block_hash="0xa9"), tally, ())
    assert await record.watched() == (Mark(number=9, block_hash="0xa9"), tally)


async def test_the_first_place_of_an_addition_is_found(database: Database) -> None:
    """Of the same bytes the oldest block counts, and what was kept twice is there once."""
    record, mark = SqlWatchRecord(database), Mark(number=9, block_hash="0xa9")
    await record.keep_watched(mark, WatchTally(), [addition("0x2", 8), addition("0x1", 5)])
    await record.keep_watched(mark, WatchTally(), [addition("0x1", 5), addition("0x3", 9, "cd" * 64)])
    found = await record.first_additions(["ab" * 64, "ef" * 64])
    assert found == {"ab" * 64: addition("0x1", 5)}


async def test_unextendable_groups_are_given_back(database: Database) -> None:
    """Group, block and what is wrong with it come back as they were kept."""
    record = SqlWatchRecord(database)
    found = (
        Unextendable(privacy_group_id="g", examination=bad(7)),
        Unextendable(privacy_group_id="h", examination=bad(8)),
    )
    await record.keep_unextendable(found)
    await record.keep_unextendable(found[:1])
    assert await record.unextendable() == found


async def test_histories_that_were_read_tell_which_groups_are_closed(database: Database) -> None:
    """The first bad block of a group's own history counts; blocks of another branch and well ones don't."""
    histories, record = SqlHistoryStore(database), SqlWatchRecord(database)
    blocks = [GroupBlock(number=n, block_hash=f"0xa{n}", state_root=str(n)) for n in (3, 5, 8)]
    await histories.keep_group_blocks("g", 0, blocks, Mark(number=9, block_hash="0xa9"))
    await histories.keep_group_blocks("other", 0, blocks[:1], Mark(number=9, block_hash="0xa9"))
    risky = Examination(number=3, block_hash="0xa3", unsettling=("0x9",))
    await histories.keep_examinations([risky, bad(4), bad(5), bad(8)])
    assert await record.closed_by_past() == (Unextendable(privacy_group_id="g", examination=bad(5)),)
    await histories.keep_examinations([bad(5, "b"), bad(8, "b")])
    assert await record.closed_by_past() == ()
