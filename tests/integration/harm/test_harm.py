"""No harm under load: what the daemon drives, and what an addition in the block after its lock does there."""

from pathlib import Path

from tests.integration.harm.by_daemon import change_by_daemon
from tests.integration.harm.load import Load

SMALL = Load(groups=6, rounds=5, writes_per_second=10.0, block_seconds=0.3, pair_blocks=15, version="23.10.3")


async def test_the_daemon_does_no_harm_under_load(tmp_path: Path) -> None:
    """No member is lost, no group rolled back, no node halted, none left locked; what is refused names a bad block."""
    run = await change_by_daemon(tmp_path, SMALL, patience_seconds=60)
    assert run.harm.lines == ()
    assert run.untrue == ()
    assert run.unreplayable > 0
    assert run.writes > 0
