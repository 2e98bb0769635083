"""Names of groups, which are for good and so have bounds."""

from typing import Any

import pytest
from aiohttp.test_utils import TestClient

from orchestrator.api.resources import names
from tests.fakes.http_api import GROUP, FakeParts

Client = TestClient[Any, Any]

OTHER = "0" * 42 + "A="


async def put(client: Client, name: str, group: str = GROUP) -> int:
    async with client.put(f"/v1/names/{name}", json={"privacy_group_id": group}) as answer:
        await answer.read()
        return answer.status


async def test_a_group_has_a_bounded_number_of_names(client: Client, parts: FakeParts) -> None:
    """Who names one group without end is refused at some number, and others' groups get and show theirs."""
    assert [await put(client, f"a{number}") for number in range(names.MOST_OF_GROUP)] == [200] * names.MOST_OF_GROUP
    assert await put(client, "one-more") == 409
    assert await put(client, "trade", OTHER) == 200
    assert parts.names.given["trade"] == OTHER
    assert len(parts.audit.entries) == names.MOST_OF_GROUP + 1


async def test_all_groups_have_a_bounded_number_of_names(
    client: Client, parts: FakeParts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names of ever other groups come to an end, too: lists show all that there are."""
    monkeypatch.setattr(names, "MOST_NAMES", 1)  # 5,000 take a while
    assert await put(client, "trade") == 200
    assert await put(client, "loans", OTHER) == 409
    assert list(parts.names.given) == ["trade"]


async def test_a_name_that_is_given_again_is_noted_once(client: Client, parts: FakeParts) -> None:
    """Giving a group a name that it has, or another's, changes nothing, and fills no audit log."""
    assert [await put(client, "trade") for _ in range(3)] == [200] * 3
    assert await put(client, "trade", OTHER) == 409
    assert [entry.about for entry in parts.audit.entries] == ["trade"]
