"""What needs a person, and how the nodes are, over HTTP."""

from typing import Any

from aiohttp.test_utils import TestClient

from orchestrator.api.ports.overview import NodeStanding
from orchestrator.membership.news.attention import Need, Urgency
from tests.fakes.http_api import GROUP, NOW, FakeParts

Client = TestClient[Any, Any]


async def test_needs_are_listed_in_their_order(client: Client, parts: FakeParts) -> None:
    """The list keeps its order, and tells what each entry is about and what to type."""
    parts.overview.needs = (
        Need(slug="members_differ", urgency=Urgency.BROKEN, what="a", privacy_group_id=GROUP, commands=("x",)),
        Need(slug="node_behind", urgency=Urgency.WAITING, what="b", node="member3", since=NOW),
    )
    found = await (await client.get("/v1/attention")).json()
    assert found["total"] == 2
    first, second = found["needs"]
    assert (first["urgency"], first["privacy_group_id"], first["node"], first["commands"]) == (
        "broken",
        GROUP,
        None,
        ["x"],
    )
    assert (second["urgency"], second["change_id"], second["node"]) == ("waiting", None, "member3")


async def test_nodes_are_listed(client: Client, parts: FakeParts) -> None:
    """Each node is shown with its head, its version and what that means."""
    parts.overview.standings = (
        NodeStanding(name="member1", enclave_keys=("k",), answers=True, head=12, behind=0, besu_version="23.10.3"),
        NodeStanding(name="member2", enclave_keys=("l",), answers=False, trouble="no answer in 3 s"),
    )
    first, second = (await (await client.get("/v1/nodes")).json())["nodes"]
    assert (first["name"], first["head"], first["besu_version"]) == ("member1", 12, "23.10.3")
    assert (second["answers"], second["trouble"], second["head"]) == (False, "no answer in 3 s", None)


async def test_parameters_are_refused(client: Client) -> None:
    """A misspelt filter is refused, not ignored."""
    assert (await client.get("/v1/attention?limit=1")).status == 422
    assert (await client.get("/v1/nodes?name=a")).status == 422
