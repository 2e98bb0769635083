"""Tokens on both databases, and what callers' names do to requests."""

from datetime import UTC, datetime, timedelta

import pytest

from orchestrator.access.audit import Action, entry_by
from orchestrator.access.callers import EVERYTHING, Door, Role, Scope, anyone
from orchestrator.access.tokens import TokenRecord, hash_of
from orchestrator.engine.ports.records import ChangeFilter
from orchestrator.membership.errors import ConflictingRequestError
from orchestrator.membership.model import Kind
from orchestrator.store import Database, SqlChangeStore
from orchestrator.store.stores.token_store import SqlAccessTokens
from tests.fakes.changes import a_change

NOW = datetime(2024, 11, 5, tzinfo=UTC)
AN_ENTRY = entry_by(anyone(Door.LOCAL), Action.CREATE_TOKEN, 0)
GROUP = "kAbelwaVW7okoEn1+okO+AbA4Hhz/7DaCOWVQz9nx5M="


def a_token(number: int, scope: Scope = EVERYTHING) -> TokenRecord:
    return TokenRecord(
        token_id=f"{number:016x}",
        name="org1",
        role=Role.OPERATOR,
        scope=scope,
        secret_hash=hash_of(str(number)),
        created_at=NOW + timedelta(seconds=number),
        created_by="token:admin",
        expires_at=NOW + timedelta(days=1),
    )


@pytest.mark.parametrize(
    "scope",
    [
        EVERYTHING,
        Scope(groups=frozenset({GROUP}), accounts=frozenset({"0x" + "a" * 40}), kinds=frozenset({Kind.ADD_MEMBERS})),
        Scope(groups=frozenset(), accounts=frozenset(), kinds=frozenset()),
    ],
    ids=["everything", "some", "nothing"],
)
async def test_a_token_is_found_as_it_was_kept(database: Database, scope: Scope) -> None:
    """No limit, some, and nothing at all stay three different things."""
    tokens = SqlAccessTokens(database)
    await tokens.add(a_token(1, scope), AN_ENTRY)
    assert await tokens.find(f"{1:016x}") == a_token(1, scope)
    assert await tokens.find("1") is None


async def test_a_revoked_token_stays_revoked(database: Database) -> None:
    """The first revocation counts; the list tells of it, the newest token first."""
    tokens = SqlAccessTokens(database)
    for number in (1, 2):
        await tokens.add(a_token(number), AN_ENTRY)
    first = await tokens.revoke(f"{1:016x}", NOW, AN_ENTRY)
    again = await tokens.revoke(f"{1:016x}", NOW + timedelta(hours=1), AN_ENTRY)
    assert first is not None
    assert first == again
    assert first.revoked_at == NOW
    assert [record.revoked_at for record in await tokens.newest()] == [None, NOW]
    assert await tokens.revoke("none", NOW, AN_ENTRY) is None


async def test_a_request_is_known_to_its_caller_alone(store: SqlChangeStore) -> None:
    """Another caller's request under the same source and id is a new one, and does not show whose id it was."""
    first = await store.accept(a_change("1", request_id="same"), "hash", (), source="/s", asker="token:a")
    again = await store.accept(a_change("2", request_id="same"), "hash", (), source="/s", asker="token:a")
    other = await store.accept(a_change("3", request_id="same"), "other", (), source="/s", asker="token:b")
    nobody = await store.accept(a_change("4", request_id="same"), "other", (), source="/s")
    assert [first.duplicate, again.duplicate, other.duplicate, nobody.duplicate] == [False, True, False, False]
    with pytest.raises(ConflictingRequestError):
        await store.accept(a_change("5", request_id="same"), "other", (), source="/s", asker="token:a")
    assert {source for source, _ in await store.unfinished()} == {"token:a", "token:b", "/s"}


async def test_a_name_can_not_be_made_by_a_source(store: SqlChangeStore) -> None:
    """Nothing that a sender calls itself is taken for a caller who had to prove a name."""
    await store.accept(a_change("1", request_id="same"), "hash", (), source="/s", asker="token:a")
    for source in ('["token:a","/s"]', "token:a", 'token:a","/s', "token:a/s"):
        found = await store.accept(a_change(f"x{source}", request_id="same"), "hash", (), source=source)
        assert not found.duplicate


async def test_only_the_groups_within_are_listed(store: SqlChangeStore) -> None:
    """Changes, their number, and where a page begins are those of some groups; another's change is no cursor."""
    for name, group in (("1", "one"), ("2", "two"), ("3", "one")):
        await store.accept(a_change(name, group), "hash", ())

    async def ids(within: set[str] | None, before: str = "") -> list[str]:
        given = f"change-{before}" if before else ""
        found = await store.changes(ChangeFilter(within=within), before=given)
        return [change.change_id.removeprefix("change-") for change in found]

    assert await ids({"one"}) == ["3", "1"]
    assert await ids({"one"}, before="3") == ["1"]
    assert await ids({"one"}, before="2") == []
    assert await ids({"one"}, before="never") == []
    assert await ids(set()) == []
    assert await ids(None, before="3") == ["2", "1"]
    assert (
        await store.count(ChangeFilter(within={"one"})),
        await store.count(ChangeFilter(within=set())),
        await store.count(),
    ) == (2, 0, 3)
