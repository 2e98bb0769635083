"""What needs a person, from the parts that know it, on the fake network."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from orchestrator.api.ports.changes import Check
from orchestrator.api.resources.overview_reads import MOST_NEEDS, Overview
from orchestrator.engine.nodes.fleet import Fleet
from orchestrator.engine.nodes.watcher import ChainWatcher
from orchestrator.engine.ports.records import HistoryEntry
from orchestrator.membership.model import MemberProgress, State, Verdict
from orchestrator.membership.news.group_news import Announcement, GroupNews
from orchestrator.membership.reasons.table import Reason
from tests.fakes.clock import FastClock
from tests.fakes.http_api import ACCOUNT, GROUP, KEYS, NOW, FakeReadiness, FakeRecord, make_change, make_parked_change
from tests.fakes.network import FakeNetwork, FakeNode, Group


class Scene:
    """Three members' nodes, and everything else told by the test."""

    def __init__(self) -> None:
        self.network = FakeNetwork()
        self.nodes = [FakeNode(self.network, f"member{n + 1}", KEYS[n]) for n in range(3)]
        self.network.groups[GROUP] = Group(owner=ACCOUNT, participants=KEYS)
        self.network.mine(30)
        self.record = FakeRecord()
        self.readiness = FakeReadiness()
        self.known: dict[str, GroupNews] = {}
        self.at = NOW
        fleet = Fleet([ChainWatcher(node, FastClock()) for node in self.nodes])
        self.overview = Overview(
            self.record, fleet, self, self.readiness, self.now, lambda version: [f"note {version}"]
        )

    def now(self) -> datetime:
        return self.at

    async def groups(self) -> Mapping[str, GroupNews]:
        return self.known


@pytest.fixture
async def scene() -> Scene:
    """The scene, thirty blocks old."""
    return Scene()


async def test_nothing_needs_anybody(scene: Scene) -> None:
    """A daemon whose nodes, store and queue work, and whose changes go on, asks nobody for anything."""
    await scene.overview.nodes()
    assert (await scene.overview.attention()).needs == ()


async def test_everything_comes_together(scene: Scene) -> None:
    """A parked change, a diverged group, a broken store and a node that is behind are one list."""
    scene.record.stored["change-1"] = make_parked_change()
    scene.known[GROUP] = GroupNews(diverged=Announcement(at=NOW, data={}))
    scene.readiness.found = (
        Check(name="store", ok=False, detail="full"),
        Check(name="node member1", ok=False, required=False),
    )
    scene.nodes[1].held_at = 5
    await scene.overview.nodes()
    found = await scene.overview.attention()
    slugs = {need.slug for need in found.needs}
    assert slugs == {"member_missing", "members_differ", "store_away", "node_unreachable", "node_behind"}
    assert found.total == len(found.needs)


@pytest.mark.parametrize(("verdict", "slug"), [(Verdict.REPLAYING, "node_replays"), (Verdict.STALLED, "node_behind")])
async def test_a_node_that_is_behind_for_a_replay_is_told_as_that(scene: Scene, verdict: Verdict, slug: str) -> None:
    """While the replay moves nobody has to look at the node; when it stands still somebody has."""
    entry = MemberProgress(
        enclave_key=KEYS[1], verdict=verdict, blocks_replayed=1, blocks_total=9, head=5, moved_at=NOW
    )
    scene.record.stored["change-1"] = replace(make_change("change-1"), state=State.REPLAYING, progress=(entry,))
    scene.nodes[1].held_at = 5
    await scene.overview.nodes()
    (need,) = (one for one in (await scene.overview.attention()).needs if one.node)
    assert (need.slug, need.node) == (slug, "member2")


async def test_a_lock_is_as_old_as_its_block(scene: Scene) -> None:
    """How long a group has been locked is counted from its lock, not from when the change was asked for."""
    await scene.overview.nodes()
    scene.record.stored["change-1"] = replace(
        make_change("change-1"),
        state=State.ADDING,
        lead_id="change-1",
        lock_block=9,
        waits_for=Reason(slug="signer_away"),
    )
    locked = NOW + timedelta(hours=1)
    scene.record.steps.append(
        HistoryEntry(
            change_id="change-1",
            revision=4,
            at=locked,
            fact="Outcome",
            from_state=State.LOCKING,
            to_state=State.ADDING,
        )
    )
    scene.at = locked + timedelta(minutes=1)
    assert (await scene.overview.attention()).needs == ()
    scene.at = locked + timedelta(minutes=3)
    (need,) = (await scene.overview.attention()).needs
    assert (need.slug, need.since) == ("locked_long", locked)


async def test_many_that_ask_at_once_look_once(scene: Scene) -> None:
    """An answer serves those who ask within a second; later it is looked at anew."""
    assert (await scene.overview.attention()).needs == ()
    scene.record.stored["change-1"] = make_parked_change()
    assert (await scene.overview.attention()).needs == ()
    scene.at += timedelta(seconds=2)
    assert len((await scene.overview.attention()).needs) == 1


async def test_what_lies_outside_a_scope_takes_no_place_in_it(scene: Scene) -> None:
    """However many needs of other groups are more urgent: a caller sees those of its own groups, and their number."""
    for number in range(2 * MOST_NEEDS):
        group = f"{number:043}="
        scene.known[group] = GroupNews(diverged=Announcement(at=NOW, data={}))
        scene.record.stored[f"change-{number}"] = replace(
            make_parked_change(f"change-{number}"), privacy_group_id=group
        )
    scene.known[GROUP] = GroupNews(diverged=Announcement(at=NOW, data={}))
    scene.record.stored["change-own"] = make_parked_change("change-own")
    everything = await scene.overview.attention()
    assert (len(everything.needs), everything.total) == (MOST_NEEDS, 4 * MOST_NEEDS + 2)
    found = await scene.overview.attention(frozenset({GROUP}))
    assert ({need.privacy_group_id for need in found.needs}, found.total) == ({GROUP}, 2)
    nothing = await scene.overview.attention(frozenset())
    assert (nothing.needs, nothing.total) == ((), 0)


async def test_each_node_is_shown_as_it_is(scene: Scene) -> None:
    """One that answers shows head, version and notes; one that doesn't shows why, and what was last seen."""
    scene.nodes[2].down = True
    first, _, third = await scene.overview.nodes()
    assert (first.answers, first.head, first.behind, first.trouble) == (True, 30, 0, "")
    assert first.notes
    assert (third.answers, third.head) == (False, None)
    assert third.trouble
