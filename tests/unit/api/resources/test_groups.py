"""Groups over HTTP."""

from typing import Any

import pytest
from aiohttp.test_utils import TestClient

from orchestrator.api.ports.changes import GroupStanding, MemberStanding
from orchestrator.api.ports.forecasts import UnforeseenError
from orchestrator.membership.model import Kind
from orchestrator.membership.reasons.table import Reason
from tests.fakes.forecasts import a_closed_way, a_removal, a_safe_forecast, an_unsafe_forecast, some_durations
from tests.fakes.http_api import GROUP, GROUP_IN_PATH, KEYS, FakeParts

Client = TestClient[Any, Any]


def standing() -> GroupStanding:
    return GroupStanding(
        privacy_group_id=GROUP,
        block_number=12,
        participants=KEYS[:2],
        locked=False,
        version="0x" + "12" * 32,
        members=(
            MemberStanding(enclave_key=KEYS[0], node="member1", head=12, exists=True, version="0x1", state_root="0x2"),
            MemberStanding(enclave_key=KEYS[1]),
        ),
    )


async def test_groups_are_listed(client: Client, parts: FakeParts) -> None:
    """The list shows each known group with the id to use in paths."""
    parts.groups.known[GROUP] = standing()
    (group,) = (await (await client.get("/v1/groups")).json())["groups"]
    assert (group["privacy_group_id"], group["path_id"]) == (GROUP, GROUP_IN_PATH)
    assert group["participants"] == list(KEYS[:2])


@pytest.mark.parametrize("path_id", [GROUP_IN_PATH, GROUP_IN_PATH + "=", GROUP_IN_PATH + "%3D"])
async def test_a_group_is_found_by_its_path_id(client: Client, parts: FakeParts, path_id: str) -> None:
    """A group is addressed in base64url, with or without padding, and shows how each member stands."""
    parts.groups.known[GROUP] = standing()
    group = await (await client.get(f"/v1/groups/{path_id}")).json()
    assert [member["node"] for member in group["members"]] == ["member1", None]


async def test_an_unknown_group_is_not_found(client: Client) -> None:
    """A group that neither a node nor a change knows answers 404."""
    assert (await client.get(f"/v1/groups/{GROUP_IN_PATH}")).status == 404


@pytest.mark.parametrize("path_id", ["short", "x" * 43, GROUP_IN_PATH + "A", "%00" * 43])
async def test_what_is_no_group_id_is_refused(client: Client, path_id: str) -> None:
    """A path that is not base64url of 32 bytes answers 422."""
    response = await client.get(f"/v1/groups/{path_id}")
    assert response.status == 422
    assert (await response.json())["field"] == "group_id"


async def test_the_desired_members_become_a_change(client: Client, parts: FakeParts) -> None:
    """Putting a set of members asks for a change that makes it so."""
    response = await client.put(
        f"/v1/groups/{GROUP_IN_PATH}/members", json={"members": list(KEYS)}, headers={"Idempotency-Key": "all three"}
    )
    assert response.status == 202
    change = parts.record.stored["change-1"]
    assert (change.kind, change.privacy_group_id, change.members) == (Kind.SET_MEMBERS, GROUP, KEYS)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"members": []}, "members"),
        ({}, "members"),
        ({"members": list(KEYS), "kind": "remove_members"}, "kind"),
        ({"members": list(KEYS), "privacy_group_id": KEYS[0]}, "privacy_group_id"),
        ({"members": "all"}, "members"),
        ("all", "body"),
    ],
)
async def test_a_wrong_set_is_refused(client: Client, parts: FakeParts, body: object, field: str) -> None:
    """A set that is not valid answers 422 with the field; kind and group are in the path and can't be overridden."""
    response = await client.put(
        f"/v1/groups/{GROUP_IN_PATH}/members", json=body, headers={"Idempotency-Key": "all three"}
    )
    assert response.status == 422
    assert (await response.json())["field"] == field
    assert parts.record.stored == {}


async def test_a_forecast_names_the_block_and_what_to_do(client: Client, parts: FakeParts) -> None:
    """The forecast has a verdict for a person and the dangers, risks and blind spots for machines."""
    parts.forecasts.found = an_unsafe_forecast()
    url_key = KEYS[2].replace("+", "-").replace("/", "_").rstrip("=")
    response = await client.get(f"/v1/groups/{GROUP_IN_PATH}/forecast", params={"members": url_key})
    found = await response.json()
    assert response.status == 200, found
    assert parts.forecasts.asked == [(GROUP, (KEYS[2],))]
    assert (found["outlook"], found["members"][0]["blocks_to_replay"]) == ("unsafe", 40)
    assert "block 8" in found["verdict"]
    assert "Make a new group" in found["verdict"]
    (danger,) = found["dangers"]
    assert (danger["block_number"], danger["transactions"]) == (8, ["0xt1", "0xt2"])


async def test_a_forecast_tells_durations_and_preflight(client: Client, parts: FakeParts) -> None:
    """How long it takes stands beside what would go wrong, and why the daemon would not begin now."""
    parts.forecasts.found, parts.forecasts.durations = a_safe_forecast(), some_durations()
    parts.forecasts.preflight = Reason(slug="node_behind", detail="node m1 is at block 3, the newest is 9")
    response = await client.get(f"/v1/groups/{GROUP_IN_PATH}/forecast", params={"members": KEYS[2]})
    found = await response.json()
    assert found["preflight"]["slug"] == "node_behind"
    durations = found["durations"]
    assert (durations["transactions"], durations["fits"], durations["lock"]["rough"]) == (2_000, True, False)
    (replay,) = durations["replays"]
    assert replay["time"]["rough"]
    assert replay["blocks_behind"] > 1


async def test_a_forecast_tells_which_ways_back_it_closes(client: Client, parts: FakeParts) -> None:
    """The addition is safe, and the group to which the member can't return afterwards is named with the block."""
    parts.forecasts.found, parts.forecasts.returns = a_safe_forecast(), a_closed_way()
    found = await (await client.get(f"/v1/groups/{GROUP_IN_PATH}/forecast", params={"members": KEYS[2]})).json()
    (way,) = found["returns"]
    assert (found["outlook"], way["left_block"], way["certain"]) == ("safe", 7, True)


async def test_a_removal_tells_whether_its_members_can_come_back(client: Client, parts: FakeParts) -> None:
    """What it takes to add them again is told, with the block that keeps other nodes from coming in their place."""
    parts.forecasts.leaving = a_removal(closed=True)
    response = await client.get(f"/v1/groups/{GROUP_IN_PATH}/forecast/removal", params={"members": KEYS[2]})
    found = await response.json()
    assert (response.status, found["outlook"], found["closed_block"]) == (200, "safe", 8)
    assert found["members"] == [KEYS[2]]
    parts.forecasts.leaving = None
    response = await client.get(f"/v1/groups/{GROUP_IN_PATH}/forecast/removal", params={"members": KEYS[2]})
    assert response.status == 404


@pytest.mark.parametrize(
    ("failure", "status"),
    [
        (None, 404),
        (UnforeseenError("node unreachable", passing=True), 503),
        (UnforeseenError("all are members", passing=False), 422),
    ],
)
async def test_no_forecast_is_told_apart(
    client: Client, parts: FakeParts, failure: Exception | None, status: int
) -> None:
    """A group that no node shows, nodes that don't answer and members that are in already answer differently."""
    parts.forecasts.failure = failure
    response = await client.get(f"/v1/groups/{GROUP_IN_PATH}/forecast", params={"members": KEYS[2]})
    assert response.status == status


@pytest.mark.parametrize(
    "query", ["", "members=", "members=short", "member=x", "members=" + "&members=".join(["x"] * 65)]
)
async def test_a_forecast_of_no_enclave_key_is_refused(client: Client, parts: FakeParts, query: str) -> None:
    """What names no enclave key, too many or something else answers 422, and no node is asked."""
    assert (await client.get(f"/v1/groups/{GROUP_IN_PATH}/forecast?{query}")).status == 422
    assert parts.forecasts.asked == []
