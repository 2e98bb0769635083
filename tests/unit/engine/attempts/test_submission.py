"""What is distributed is used only while what was seen of the sending node still holds."""

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from orchestrator.engine.attempts.additions_under_way import AdditionsUnderWay
from orchestrator.engine.ports.nodes import Head
from orchestrator.membership.forecast.verdict import Danger, Forecast, Scope
from orchestrator.membership.model import Change, State
from orchestrator.membership.reasons.table import Reason

if TYPE_CHECKING:
    from tests.unit.engine.conftest import Rig


async def test_a_bundle_that_a_replay_may_have_torn_is_made_anew(rig: "Rig", monkeypatch: pytest.MonkeyPatch) -> None:
    """When a block came while it was made, and the node replays another group: no marker is made of the first."""
    await rig.group_of("a", "b")
    takes, made = rig.nodes["a"].distribute, 0

    async def distribute(raw: bytes, from_block: int | None = None) -> bytes:
        nonlocal made
        if json.loads(raw)["action"] == "add":
            made += 1
            if made == 1:
                rig.network.mine()
                await rig.fleet.named("b").refresh()
        return await takes(raw, from_block)

    async def replays(_: AdditionsUnderWay, change: Change, node: str, head: int) -> Reason | None:
        assert (change.state, node) == (State.ADDING, "a")
        assert head < rig.network.head.number, "what it replayed is known up to the head of before"
        return Reason(slug="newcomer_busy", detail="another change") if made == 1 else None

    rig.nodes["a"].distribute = distribute  # type: ignore[method-assign] # a block comes meanwhile
    monkeypatch.setattr(AdditionsUnderWay, "replaying", replays)
    (change,) = await rig.until_at_rest(await rig.ask("add_members", "c"))
    assert change.state is State.SUCCEEDED
    assert made == 2
    assert [call["action"] for call in rig.network.executed] == ["create", "lock", "add"]


@pytest.mark.parametrize("safe", [True, False])
async def test_an_addition_is_forecast_anew_behind_a_block_that_came_since_it_was_signed(
    rig: "Rig", monkeypatch: pytest.MonkeyPatch, safe: bool
) -> None:
    """Another one may have made the new member's node replay meanwhile: what was not broadcast is taken back then."""
    await rig.group_of("a", "b")
    forecast, forecasts = rig.forecaster.after_lock, list[int]()

    async def after_lock(change: Change, head: Head) -> Forecast:
        forecasts.append(head.number)
        found = await forecast(change, head)
        if len(forecasts) == 1:
            rig.network.mine()  # behind this look, and before the addition is broadcast
            await rig.fleet.named("a").refresh()
        danger = Danger(scope=Scope.MEMBER, reason=Reason(slug="former_member_unsafe"))
        return found if safe or len(forecasts) != 2 else replace(found, dangers=(danger,))

    monkeypatch.setattr(rig.forecaster, "after_lock", after_lock)
    (change,) = await rig.until_at_rest(await rig.ask("add_members", "c"))
    first, second = forecasts
    assert first < second
    assert change.state is (State.SUCCEEDED if safe else State.PARKED)
    done = [call["action"] for call in rig.network.executed]
    assert done == ["create", "lock", "add" if safe else "unlock"]
