"""Forecasts for the API, on nodes that show head maps."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from orchestrator.api.ports.forecasts import UnforeseenError
from orchestrator.api.resources.forecasts import FleetForecasts
from orchestrator.engine.history.forecaster import Forecaster
from orchestrator.engine.history.work import ReplayWork
from orchestrator.engine.nodes.bundling_times import BundlingBook
from orchestrator.engine.nodes.fleet import Fleet
from orchestrator.engine.nodes.watcher import ChainWatcher
from orchestrator.engine.preflight.durations import AdditionTimes
from orchestrator.membership.forecast.verdict import Outlook
from orchestrator.membership.news.forecast_document import forecast_data, removal_verdict
from orchestrator.store.commits.database import Database
from orchestrator.store.stores.history_store import SqlHistoryStore
from orchestrator.store.stores.time_store import SqlAdditionTimes
from tests.fakes.clock import FastClock
from tests.fakes.migrated_stores import migrated
from tests.fakes.network import FakeNetwork, FakeNode, Group


class Asked:
    """Three nodes, a group of two of them, and forecasts."""

    def __init__(self, database: Database) -> None:
        self.network = FakeNetwork()
        self.nodes = [FakeNode(self.network, f"node{key}", key) for key in "abc"]
        self.network.groups["g"] = Group(owner="0xo", participants=("a", "b"))
        self.network.mine(5)
        fleet = Fleet([ChainWatcher(node, FastClock()) for node in self.nodes])
        histories = SqlHistoryStore(database)
        times = AdditionTimes(
            SqlAdditionTimes(database),
            fleet,
            ReplayWork(histories).of_group,
            BundlingBook(),
            FastClock(),
            1.0,
            lambda _quantity, _error: None,
        )
        self.forecasts = FleetForecasts(fleet, Forecaster(fleet, histories), times, ["0xo"])


@pytest.fixture
async def asked(tmp_path: Path) -> AsyncIterator[Asked]:
    url = migrated(tmp_path / "store.db")
    async with Database(url) as database:
        yield Asked(database)


async def test_those_who_are_no_members_are_forecast(asked: Asked) -> None:
    """Members that are in already are left out; the document tells what the other has to replay."""
    found = await asked.forecasts.forecast("g", ["a", "c"])
    assert found is not None
    assert forecast_data(found.forecast)["outlook"] == "safe"
    assert [replay.enclave_key for replay in found.forecast.replays] == ["c"]
    assert found.preflight is None


async def test_what_preflight_says_is_told_along(asked: Asked) -> None:
    """A lock of somebody else's keeps an addition from beginning, whatever its replay would come to."""
    asked.network.groups["g"].locked = True
    asked.network.mine(1)
    found = await asked.forecasts.forecast("g", ["c"])
    assert found is not None
    assert found.preflight is not None
    assert found.preflight.slug == "locked_by_other"


async def test_a_group_that_no_node_shows_has_no_forecast(asked: Asked) -> None:
    """A group that nobody has is unknown, not unsafe."""
    assert await asked.forecasts.forecast("other", ["c"]) is None


async def test_members_that_are_in_have_no_forecast(asked: Asked) -> None:
    """There is nothing to add, and asking later does not help."""
    with pytest.raises(UnforeseenError) as caught:
        await asked.forecasts.forecast("g", ["a", "b"])
    assert not caught.value.passing


async def test_nodes_that_do_not_answer_are_no_verdict(asked: Asked) -> None:
    """Without an answer there is no forecast, and the reason is told."""
    for node in asked.nodes:
        node.down = True
    with pytest.raises(UnforeseenError, match="node unreachable") as caught:
        await asked.forecasts.forecast("g", ["c"])
    assert caught.value.passing


async def test_a_removal_says_that_its_members_can_come_back(asked: Asked) -> None:
    """Who is in the group's newest state may return on the same node; who is no member is left out."""
    found = await asked.forecasts.removal("g", ["b", "c"])
    assert found is not None
    assert [replay.enclave_key for replay in found.addition.replays] == ["b"]
    assert (found.preflight, found.refused, found.closed_block) == (None, None, None)
    outlook, verdict = removal_verdict(found.addition, found.refused)
    assert outlook is Outlook.SAFE
    assert "can be added again" in verdict
    assert "no group is added to it that has transactions in the block of the removal" in verdict


async def test_a_removal_that_could_not_be_undone_is_told(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    """Removals are executed in either dialect, additions in the nodes' own only: the removal would go, and no way back.

    Source: docs/besu.md#versions, 3.
    """

    async def older(_group: str) -> str:
        return "bytes32"

    for node in asked.nodes:
        monkeypatch.setattr(node, "abi", older)
    found = await asked.forecasts.removal("g", ["b"])
    assert found is not None
    assert found.preflight is None
    assert found.refused is not None
    assert found.refused.slug == "contract_of_other_version"
    outlook, verdict = removal_verdict(found.addition, found.refused)
    assert outlook is Outlook.UNSAFE
    assert verdict.startswith("no: they could not be added again as it is now, because of contract of other version")


async def test_a_removal_of_nobody_has_no_forecast(asked: Asked) -> None:
    """None of them is a member: asking later does not help; a group that nobody has is unknown."""
    with pytest.raises(UnforeseenError) as caught:
        await asked.forecasts.removal("g", ["c"])
    assert not caught.value.passing
    assert await asked.forecasts.removal("other", ["b"]) is None


async def test_a_removal_of_all_whose_nodes_are_seen_says_why_not(asked: Asked) -> None:
    """There is nobody left to be asked: that is what preflight says of it, and not a node that is away."""
    with pytest.raises(UnforeseenError, match="would empty group") as caught:
        await asked.forecasts.removal("g", ["a", "b"])
    assert not caught.value.passing
