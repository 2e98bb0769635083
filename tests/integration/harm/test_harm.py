"""No harm under load: what the daemon drives, and what an addition in the block after its lock does there."""

from dataclasses import replace
from pathlib import Path

from tests.integration.harm.by_daemon import change_by_daemon
from tests.integration.harm.clients import change_by_window_of_one
from tests.integration.harm.load import Load
from tests.patience import patient

SMALL = Load(groups=6, rounds=5, writes_per_second=10.0, block_seconds=0.3, pair_blocks=15, version="23.10.3")
CALM = replace(SMALL, pair_blocks=10_000)
PAIRED = replace(SMALL, pair_blocks=5)
PATIENCE_SECONDS = 100
KEPT_BLOCK_SECONDS = 0.1
"""A client alone on its machine keeps up with such blocks."""


def kept(load: Load) -> Load:
    """A load whose clients can keep up with its blocks: an addition that comes two blocks late loses nobody."""
    return replace(load, block_seconds=max(load.block_seconds, min(1.0, patient(KEPT_BLOCK_SECONDS))))


async def test_the_daemon_does_no_harm_under_load(tmp_path: Path) -> None:
    """No member is lost, no group rolled back, no node halted, none left locked; what is refused names a bad block."""
    run = await change_by_daemon(tmp_path, SMALL, patience_seconds=patient(PATIENCE_SECONDS))
    assert run.harm.lines == ()
    assert run.untrue == ()
    assert run.unreplayable > 0
    assert run.writes > 0


async def test_a_window_of_one_block_loses_members() -> None:
    """Additions in the block after their locks lose members of groups that nobody sent anything wrong to."""
    run = await change_by_window_of_one(kept(CALM))
    assert run.unreplayable == 0
    assert run.harm.lost
    assert run.harm.locked == ()


async def test_an_account_twice_in_a_block_halts_nodes() -> None:
    """A client that looks at no block adds members whose nodes then stand still for ever."""
    run = await change_by_window_of_one(kept(PAIRED))
    assert run.unreplayable > 0
    assert run.harm.halted
