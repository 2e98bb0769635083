"""What the watch over new blocks found, as findings."""

from orchestrator.doctor.checks import CHECKS
from orchestrator.doctor.findings import Level
from orchestrator.doctor.watch import watch_findings
from orchestrator.membership.damage.unextendable import Unextendable, WatchTally
from orchestrator.membership.forecast.blocks import Examination, Flaw, FlawedTransactions

FLAW = FlawedTransactions(flaw=Flaw.ACCOUNT_TWICE, account="0xp", transactions=("0x1", "0x2"))
BAD = Examination(number=8, block_hash="0x8", flaws=(FLAW,))


def test_a_well_network_has_no_warning() -> None:
    """Blocks without pairs, groups that are open and no repetition are all well."""
    found = watch_findings(WatchTally(blocks=100), ())
    assert [finding.level for finding in found] == [Level.OK] * 3
    assert all(finding.check in CHECKS for finding in found)


def test_nothing_watched_is_no_good_news() -> None:
    """Before a daemon ran nothing is known of blocks, and that is said."""
    assert watch_findings(WatchTally(), ())[0].level is Level.NOTE


def test_blocks_groups_and_repetitions_are_named() -> None:
    """Each warning has the numbers, the block, the account or the transaction, and a remedy."""
    tally = WatchTally(blocks=200, account_twice=3, newest_twice=8, account="0xp", repeated=1, newest_repeated="0xr")
    blocks, groups, repeated = watch_findings(tally, [Unextendable(privacy_group_id="g", examination=BAD)])
    assert {finding.level for finding in (blocks, groups, repeated)} == {Level.WARNING}
    assert "3 of 200 blocks watched (1.5 %)" in blocks.what
    assert "g by block 8: account 0xp has 2 transactions in it" in groups.what
    assert "0xr" in repeated.what
    assert all(finding.remedy for finding in (blocks, groups, repeated))
