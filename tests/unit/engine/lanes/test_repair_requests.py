"""Asking for repairs: which, when, and that a store or a change that moved does no harm."""

from dataclasses import replace

import pytest

from orchestrator.access.audit import AuditEntry
from orchestrator.engine.lanes.repair_requests import Repairer
from orchestrator.engine.nodes.fleet import Fleet
from orchestrator.engine.nodes.watcher import ChainWatcher
from orchestrator.engine.ports.records import EVERY_CHANGE, ChangeFilter
from orchestrator.engine.ports.store import Amendment, LeaseLostError
from orchestrator.membership.heads import BEHIND_BLOCKS
from orchestrator.membership.model import Change, MemberProgress, State, Verdict
from orchestrator.membership.reasons.table import Reason
from tests.fakes.changes import a_change
from tests.fakes.clock import START, JumpingClock
from tests.fakes.network import FakeNetwork, FakeNode
from tests.fakes.surveys import NEW, a_plan, an_effect

LOST = MemberProgress(
    enclave_key=NEW, verdict=Verdict.MISSING, blocks_replayed=0, blocks_total=0, head=9, moved_at=START
)
PARKED = a_change(
    "a",
    state=State.PARKED,
    members=(NEW,),
    transacted=True,
    plan=a_plan(),
    effect=an_effect(5),
    reason=Reason(slug="member_missing", members=(NEW,)),
    progress=(LOST,),
)


class Store:
    """One change, and what an amendment makes of it."""

    def __init__(self, change: Change = PARKED) -> None:
        self.change = change
        self.failure: Exception | None = None

    async def changes(
        self, wanted: ChangeFilter = EVERY_CHANGE, *, limit: int = 100, before: str = ""
    ) -> tuple[Change, ...]:
        return (PARKED,) if State.PARKED in wanted.states and limit and not before else ()

    async def amend(self, change_id: str, amendment: Amendment, audit: AuditEntry | None = None) -> Change:
        if self.failure is not None:
            raise self.failure
        assert (change_id, audit) == (PARKED.change_id, None)
        (self.change,) = amendment(self.change).changes
        return self.change


class Asked:
    """The node of the lost member, and who asks for its repair."""

    def __init__(self, store: Store) -> None:
        self.network = FakeNetwork()
        self.node = FakeNode(self.network, "node-new", NEW)
        FakeNode(self.network, "node-old", "old")
        FakeNode(self.network, "node-older", "older")  # a head is believed once a second node shows it
        self.network.mine(9)
        self.fleet = Fleet([ChainWatcher(node, JumpingClock()) for node in self.network.nodes])
        self.repairer = Repairer(store, self.fleet, JumpingClock())

    async def repair(self) -> None:
        for watcher in self.fleet.watchers:
            await watcher.refresh()
        await self.repairer.repair_parked()


async def test_a_lost_addition_is_asked_to_be_repaired() -> None:
    """The change is queued with its repair; nothing else is decided here."""
    store = Store()
    await Asked(store).repair()
    assert store.change.state is State.QUEUED
    assert store.change.repair is not None
    assert (store.change.repair.members, store.change.repair.since_block) == ((NEW,), 5)


async def test_a_node_that_does_not_keep_up_is_waited_for() -> None:
    """A queued repair would hold up the group's other changes; until the node is there the change stays parked."""
    store = Store()
    asked = Asked(store)
    asked.node.held_at = 1
    asked.network.mine(BEHIND_BLOCKS)
    await asked.repair()
    assert store.change is PARKED
    asked.node.held_at = None
    await asked.repair()
    assert store.change.state is State.QUEUED


async def test_a_node_that_nobody_has_seen_is_waited_for() -> None:
    """After a start no head is known yet: a verdict of yesterday is no reason to act at once."""
    store = Store()
    await Asked(store).repairer.repair_parked()
    assert store.change is PARKED


@pytest.mark.parametrize(
    ("change", "failure"),
    [
        (replace(PARKED, state=State.QUEUED), None),
        (PARKED, LeaseLostError("worked on")),
        (PARKED, KeyError("gone")),
    ],
)
async def test_what_moved_meanwhile_is_left_alone(change: Change, failure: Exception | None) -> None:
    """Somebody retried it, works on it or deleted it: the next look sees."""
    store = Store(change)
    store.failure = failure
    await Asked(store).repair()
    assert store.change is change
