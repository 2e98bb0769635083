"""Groups over HTTP."""

from typing import Any

import pytest
from aiohttp.test_utils import TestClient

from orchestrator.api.ports import GroupStanding, MemberStanding
from orchestrator.membership.model import Kind
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
