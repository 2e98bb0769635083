"""What is distributed is used only while what was seen of the sending node still holds."""

import json
from typing import TYPE_CHECKING

import pytest

from orchestrator.engine.attempts.additions_under_way import AdditionsUnderWay
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
