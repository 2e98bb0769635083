"""Forecasts for the API, on nodes that show head maps."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from orchestrator.api.ports.forecasts import UnforeseenError
from orchestrator.api.resources.forecasts import FleetForecasts
from orchestrator.engine.history.forecaster import Forecaster
from orchestrator.engine.history.work import ReplayWork
from orchestrator.engine.nodes.fleet import Fleet
from orchestrator.engine.nodes.watcher import ChainWatcher
from orchestrator.engine.preflight.bundling_times import BundlingBook
from orchestrator.engine.preflight.durations import AdditionTimes
from orchestrator.membership.news.forecast_document import forecast_data
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
