"""Groups as the nodes show them now."""

import pytest

from orchestrator.api.resources.group_reads import FleetGroups
from orchestrator.engine.nodes.fleet import Fleet
from orchestrator.engine.nodes.watcher import ChainWatcher
from orchestrator.membership.news.group_news import Announcement, GroupNews
from tests.fakes.clock import FastClock
from tests.fakes.http_api import ACCOUNT, GROUP, KEYS, NOW, FakeRecord, make_change
from tests.fakes.network import FakeNetwork, FakeNode, Group

OTHER_GROUP = "Z3JvdXAtb2YtdGhlLXVuaXQtdGVzdHMtMzItYnl0ZXM="


class FakeNews:
    """What a test says that was told."""

    def __init__(self, told: dict[str, GroupNews]) -> None:
        self._told = told

    async def groups(self) -> dict[str, GroupNews]:
        return self._told


class Scene:
    """Two members' nodes and a third member whose node is not configured."""

    def __init__(self) -> None:
        self.network = FakeNetwork()
        self.nodes = [FakeNode(self.network, f"member{n + 1}", KEYS[n]) for n in range(2)]
        self.network.groups[GROUP] = Group(owner=ACCOUNT, participants=KEYS)
        self.network.mine(3)
        self.record = FakeRecord()
        fleet = Fleet([ChainWatcher(node, FastClock()) for node in self.nodes])
        self.told: dict[str, GroupNews] = {}
        self.groups = FleetGroups(self.record, fleet, FakeNews(self.told))


@pytest.fixture
async def scene() -> Scene:
    """The scene, three blocks old."""
    return Scene()


async def test_a_group_shows_how_each_member_stands(scene: Scene) -> None:
    """Each participant is shown with its node, and the members that can be seen are compared at one block."""
    group = await scene.groups.group(GROUP)
    assert group is not None
    assert (group.block_number, group.participants, group.locked, group.in_sync) == (3, KEYS, False, True)
    assert [member.node for member in group.members] == ["member1", "member2", None]
    assert group.members[0].state_root == group.members[1].state_root != ""


async def test_members_are_compared_at_a_block_that_all_have(scene: Scene) -> None:
    """A member whose node is behind is compared where it is, not called different."""
    scene.nodes[1].held_at = 2
    scene.network.write(GROUP, 2)
    group = await scene.groups.group(GROUP)
    assert group is not None
    assert [member.head for member in group.members] == [5, 2, None]
    assert group.in_sync is True


async def test_members_that_differ_are_told(scene: Scene) -> None:
    """A member with another state root makes the group not in sync."""
    scene.nodes[1].diverges_from = 2
    group = await scene.groups.group(GROUP)
    assert group is not None
    assert group.in_sync is False


async def test_one_visible_member_proves_nothing(scene: Scene) -> None:
    """With one member that answers, it is not said whether the members agree."""
    scene.nodes[1].down = True
    group = await scene.groups.group(GROUP)
    assert group is not None
    assert (group.members[1].exists, group.in_sync) == (None, None)


async def test_a_list_tells_what_the_audit_found(scene: Scene) -> None:
    """A group whose members were found to differ, or parted by an addition, is listed as such; of others nothing is."""
    scene.record.stored["change-1"] = make_change()
    (group,) = (await scene.groups.groups(limit=5)).groups
    assert group.in_sync is None
    for news in (GroupNews(diverged=Announcement(at=NOW, data={})), GroupNews(repeated=Announcement(at=NOW, data={}))):
        scene.told[GROUP] = news
        (group,) = (await scene.groups.groups(limit=5)).groups
        assert group.in_sync is False


async def test_an_unknown_group_is_none(scene: Scene) -> None:
    """A group that no node shows and no change is about does not exist."""
    assert await scene.groups.group(OTHER_GROUP) is None


async def test_a_group_that_only_a_change_knows_is_shown(scene: Scene) -> None:
    """A group that is still to be created is shown with the change that will."""
    scene.record.stored["change-1"] = make_change(privacy_group_id=OTHER_GROUP)
    group = await scene.groups.group(OTHER_GROUP)
    assert group is not None
    assert (group.block_number, group.unfinished) == (None, ("change-1",))


async def test_groups_are_those_of_the_newest_changes(scene: Scene) -> None:
    """The list has each group once, and what the nodes do not answer is left open."""
    for number, name in enumerate((GROUP, OTHER_GROUP, GROUP)):
        scene.record.stored[f"change-{number}"] = make_change(f"change-{number}", privacy_group_id=name)
    first, second = (await scene.groups.groups(limit=10)).groups
    assert (first.privacy_group_id, first.participants) == (GROUP, KEYS)
    assert first.unfinished == ("change-2", "change-0")
    assert (second.privacy_group_id, second.block_number) == (OTHER_GROUP, None)
    for node in scene.nodes:
        node.down = True
    assert [group.locked for group in (await scene.groups.groups(limit=10)).groups] == [None, None]
