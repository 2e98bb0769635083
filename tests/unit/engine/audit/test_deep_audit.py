"""Deep audits on nodes whose head maps replays have rewritten."""

from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

import pytest

from orchestrator.engine.audit.deep_audit import MOST_CALLS, DeepAudit, DeepReport
from orchestrator.engine.nodes.fleet import Fleet
from orchestrator.engine.nodes.watcher import ChainWatcher
from orchestrator.membership.damage.findings import Damage, DamageFinding, Severity
from orchestrator.store.commits.database import Database
from orchestrator.store.stores.history_store import SqlHistoryStore
from tests.fakes.clock import FastClock
from tests.fakes.head_maps import Act
from tests.fakes.mapped_nodes import Chain, MapNode
from tests.fakes.migrated_stores import migrated


class ListingNode(MapNode):
    """A node that lists the members of the groups that it holds; calls are counted."""

    async def groups(self, enclave_keys: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
        held = await super().groups(enclave_keys)
        return {group: tuple(sorted(self.chain.world.members(group))) for group in held}


class Audited:
    """A chain, nodes on it and audits."""

    def __init__(self, store: SqlHistoryStore, *names: str) -> None:
        self.store = store
        self.chain = Chain(*(name for name in names if name != "T"))
        self.nodes = {name: ListingNode(self.chain, name) for name in names}
        self.progress: list[tuple[int, int, str]] = []

    def calls(self) -> int:
        return sum(node.calls for node in self.nodes.values())

    async def audit(self, *, most_calls: int = MOST_CALLS, after: str = "") -> DeepReport:
        def noted(done: int, of: int, group: str) -> None:
            self.progress.append((done, of, group))

        fleet = Fleet([ChainWatcher(node, FastClock()) for node in self.nodes.values()])
        audit = DeepAudit(fleet, self.store, calls=self.calls, on_progress=noted, most_calls=most_calls)
        return await audit.run(after=after)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqlHistoryStore]:
    url = migrated(tmp_path / "store.db")
    async with Database(url) as database:
        yield SqlHistoryStore(database)


def told(report: DeepReport) -> list[tuple[Damage, str, str]]:
    return [(finding.damage, finding.privacy_group_id, finding.node) for finding in report.findings]


def only(report: DeepReport) -> DamageFinding:
    (finding,) = report.findings
    return finding


def replayed_over(audited: Audited, *members: str, window: int) -> None:
    """S joins G by a replay whose lock is in a block of X, so many blocks before the addition."""
    chain = audited.chain
    chain.mine(Act(group="X", kind="create", keys=members))
    chain.mine(Act(group="X", kind="tx"))
    chain.mine(Act(group="G", kind="create", keys=("T",)))
    chain.mine()
    chain.mine(Act(group="X", kind="tx"), Act(group="G", kind="lock"))
    if window > 1:
        chain.mine(Act(group="X", kind="tx"))
    chain.mine(Act(group="G", kind="add", keys=("S",)))
    chain.mine()


async def test_a_well_network_has_no_findings(store: SqlHistoryStore) -> None:
    """A group that was created, written to and extended with two blocks' window is well, and that is said."""
    audited = Audited(store, "T", "S")
    audited.chain.mine(Act(group="G", kind="create", keys=("T",)))
    audited.chain.mine(Act(group="G", kind="lock"))
    audited.chain.mine()
    audited.chain.mine(Act(group="G", kind="add", keys=("S",)))
    audited.chain.mine()
    report = await audited.audit()
    assert (report.findings, report.groups, report.blocks, report.account_twice) == ((), 1, 3, 0)
    assert audited.progress == [(0, 1, "G"), (1, 1, "")]


async def test_a_torn_bundle_is_found_while_its_node_is_well(store: SqlHistoryStore) -> None:
    """A node whose map lost a block between lock and addition must not send: told with group, node and block."""
    audited = Audited(store, "T", "S")
    replayed_over(audited, "T", "S", window=2)
    finding = only(await audited.audit())
    assert (finding.damage, finding.privacy_group_id, finding.node) == (Damage.TORN, "X", "S")
    assert finding.block_number == 6
    assert finding.severity is Severity.DANGER
    assert finding.never.startswith("Never add to this group through node S")


async def test_a_rolled_back_member_is_named_with_what_repairs_it(store: SqlHistoryStore) -> None:
    """With a window of one block the third member lost a transaction: it can be removed and come back."""
    audited = Audited(store, "T", "S", "R")
    replayed_over(audited, "T", "S", "R", window=1)
    report = await audited.audit()
    worst = report.findings[0]
    assert (worst.damage, worst.privacy_group_id, worst.members) == (Damage.DIFFERS, "X", ("S",))
    assert "after block 2" in worst.detail
    assert "lock, let a whole block pass" in worst.repair
    assert worst.severity is Severity.DAMAGE


async def test_of_two_that_differ_none_is_called_odd(store: SqlHistoryStore) -> None:
    """With two members nothing tells who is right: both are named, and neither must be touched."""
    audited = Audited(store, "T", "S")
    replayed_over(audited, "T", "S", window=1)
    worst = (await audited.audit()).findings[0]
    assert (worst.damage, worst.members) == (Damage.UNDECIDED, ("S", "T"))
    assert "Never remove or add any of S, T" in worst.never


async def test_a_former_member_that_would_halt_is_found(store: SqlHistoryStore) -> None:
    """X removed S in a block that S's replay of G went over, and X went on in the next: S must not come back."""
    audited = Audited(store, "T", "S")
    chain = audited.chain
    chain.mine(Act(group="X", kind="create", keys=("T", "S")), Act(group="G", kind="create", keys=("T",)))
    chain.mine()
    chain.mine(Act(group="X", kind="remove", keys=("S",)), Act(group="G", kind="tx"))
    chain.mine(Act(group="X", kind="tx"))
    chain.mine(Act(group="G", kind="lock"))
    chain.mine()
    chain.mine(Act(group="G", kind="add", keys=("S",)))
    chain.mine()
    finding = only(await audited.audit())
    assert (finding.damage, finding.privacy_group_id, finding.members) == (Damage.FORMER_UNSAFE, "X", ("S",))
    assert "was a member" in finding.detail
    assert finding.never == "Never re-add member S on node S: it would halt for good."


async def test_a_former_member_that_may_come_back_is_a_note(store: SqlHistoryStore) -> None:
    """A node that holds a group without membership is told, with the condition of its return."""
    audited = Audited(store, "T", "S")
    audited.chain.mine(Act(group="X", kind="create", keys=("T", "S")))
    audited.chain.mine(Act(group="X", kind="remove", keys=("S",)))
    audited.chain.mine()
    audited.chain.mine(Act(group="X", kind="tx"))
    finding = only(await audited.audit())
    assert (finding.damage, finding.block_number, finding.severity) == (Damage.FORMER, 2, Severity.NOTE)


async def test_a_block_that_closes_a_group_is_found_in_the_past(store: SqlHistoryStore) -> None:
    """The group, the block and the account are named, and blocks with pairs are counted."""
    audited = Audited(store, "T")
    audited.chain.mine(Act(group="G", kind="create", keys=("T",)))
    audited.chain.mine(Act(group="G", kind="tx"), accounts=("0xp", "0xp"))
    audited.chain.mine(Act(group="G", kind="tx"))
    report = await audited.audit()
    finding = only(report)
    assert (finding.damage, finding.privacy_group_id, finding.block_number) == (Damage.UNEXTENDABLE, "G", 2)
    assert "0xp" in finding.detail
    assert (report.blocks, report.account_twice) == (3, 1)


async def test_an_audit_that_runs_out_of_calls_goes_on_where_it_was_left(store: SqlHistoryStore) -> None:
    """What was left out is named, and comes first in the next audit, for which the histories are kept."""
    audited = Audited(store, "T")
    for group in ("A", "B", "C"):
        audited.chain.mine(Act(group=group, kind="create", keys=("T",)))
    first = await audited.audit(most_calls=audited.calls() + 8)
    assert first.left_out
    second = await audited.audit(most_calls=audited.calls() + MOST_CALLS, after=first.reached)
    assert second.left_out == ()
    asked_for = [group for done, _, group in audited.progress if group][first.groups :]
    assert asked_for[0] == first.left_out[0]


async def test_a_group_of_which_no_member_is_seen_is_a_note(store: SqlHistoryStore) -> None:
    """A removed member's node alone has nothing to be compared with: said, and not called well."""
    audited = Audited(store, "S")
    audited.chain.mine(Act(group="X", kind="create", keys=("T", "S")))
    audited.chain.mine(Act(group="X", kind="remove", keys=("S",)))
    finding = only(await audited.audit())
    assert (finding.damage, finding.severity) == (Damage.UNSEEN, Severity.NOTE)


async def test_nodes_that_do_not_answer_are_named(store: SqlHistoryStore) -> None:
    """A silent node is skipped with its reason, and without any there is no report that all is well."""
    audited = Audited(store, "T", "S")
    audited.chain.mine(Act(group="G", kind="create", keys=("T", "S")))
    audited.nodes["S"].down = True
    report = await audited.audit()
    assert set(report.skipped) == {"S"}
    audited.nodes["T"].down = True
    assert (await audited.audit()).block_number is None
