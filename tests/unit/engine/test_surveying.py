"""Preflight's eyes, on the fake network."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from orchestrator.engine.fleet import Fleet
from orchestrator.engine.history.forecaster import Forecaster
from orchestrator.engine.node_ports import NodeError, Said
from orchestrator.engine.surveying import survey
from orchestrator.engine.watcher import ChainWatcher
from orchestrator.membership.model import GroupView, Kind
from orchestrator.store.database import Database
from orchestrator.store.history_store import SqlHistoryStore
from orchestrator.store.schema_version import migrate
from tests.fakes.changes import a_change
from tests.fakes.clock import JumpingClock
from tests.fakes.network import FakeNetwork, FakeNode, Group

GROUP = a_change("add").privacy_group_id


@pytest.fixture
async def histories(tmp_path: Path) -> AsyncIterator[SqlHistoryStore]:
    """A store for what is read of histories."""
    url = f"sqlite:///{tmp_path / 'store.db'}"
    migrate(url)
    async with Database(url) as database:
        yield SqlHistoryStore(database)


def a_network() -> tuple[FakeNetwork, FakeNode, FakeNode, Fleet]:
    """A group of A, and the node of B, which is asked for."""
    network = FakeNetwork()
    old, new = FakeNode(network, "old", "A"), FakeNode(network, "new", "B")
    network.groups[GROUP] = Group(owner="0xo", participants=("A",))
    network.mine(5)
    return network, old, new, Fleet([ChainWatcher(node, JumpingClock()) for node in (old, new)])


@pytest.mark.parametrize("silent", ["abi", "owns"])
async def test_a_group_that_was_seen_has_a_contract_and_an_owner(
    silent: str, histories: SqlHistoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A late replica that answers for the newest state has no group yet: it is asked again, and nothing is refused."""
    _, old, _, fleet = a_network()

    async def nothing(*_: str) -> None:
        await asyncio.sleep(0)

    monkeypatch.setattr(old, silent, nothing)
    with pytest.raises(NodeError) as failure:
        await survey(fleet, a_change("unlock", kind=Kind.UNLOCK_GROUP, members=()), Forecaster(fleet, histories))
    assert failure.value.said is Said.NOT_KNOWN


@pytest.mark.parametrize(
    ("participants", "of_another"), [(("B", "C"), True), (("A", "B"), False), (("C",), False), (("A",), False)]
)
async def test_a_group_of_its_own_with_the_same_id_is_seen(
    participants: tuple[str, ...], of_another: bool, histories: SqlHistoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A newcomer that is a member of another group of this id, which shares nobody with ours, is told apart."""
    _, _, new, fleet = a_network()
    seen = GroupView(block_number=5, exists=True, participants=participants, state_root="another")

    async def root(_: str, numbers: list[int]) -> tuple[GroupView, ...]:
        return tuple(seen for _ in numbers)

    async def view(group: str, number: int) -> GroupView:
        return seen

    monkeypatch.setattr(new, "roots", root)
    monkeypatch.setattr(new, "view", view)
    surveyed = await survey(fleet, a_change("add", members=("B",), account="0xo"), Forecaster(fleet, histories))
    (member,) = (member for member in surveyed.members if member.enclave_key == "B")
    assert member.of_another_group is of_another
