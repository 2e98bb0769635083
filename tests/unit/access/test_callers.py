"""Scopes: what lies in them, and that nothing but the very same id does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.access.callers import EVERYTHING, NOTHING, ForbiddenError, Scope, scope_of
from orchestrator.membership.model import Kind

GROUPS = ("DyAOiF/ynpc+JXa2YAGB0bCitSlOMNm+ShmB/7M6C4w=", "kAbelwaVW7okoEn1+okO+AbA4Hhz/7DaCOWVQz9nx5M=")
ACCOUNTS = ("0xfe3b557e8fb62b89f4916b721be55ceb828dbd73", "0x627306090abab3a6e1400e9345bc60c78a8bef57")


def some(values: tuple[str, ...] | type[Kind]) -> st.SearchStrategy[frozenset[str] | None]:
    return st.none() | st.frozensets(st.sampled_from(list(values)))


scopes = st.builds(Scope, groups=some(GROUPS), accounts=some(ACCOUNTS), kinds=some(Kind))


def allows(scope: Scope, kind: Kind, group: str, account: str) -> bool:
    try:
        scope.require(kind, group, account)
    except ForbiddenError:
        return False
    return True


@given(scopes, scopes, st.sampled_from(Kind), st.sampled_from(GROUPS), st.sampled_from(ACCOUNTS))
def test_a_narrowed_scope_allows_what_both_allow(
    one: Scope, other: Scope, kind: Kind, group: str, account: str
) -> None:
    """A rule in the configuration takes from a token's scope and never adds to it."""
    both = one.narrowed(other)
    assert allows(both, kind, group, account) == (
        allows(one, kind, group, account) and allows(other, kind, group, account)
    )
    assert both.sees(group) == (one.sees(group) and other.sees(group))


@pytest.mark.parametrize(
    "spelt",
    [
        "*",
        ".*",
        "%",
        "",
        GROUPS[0].lower(),
        GROUPS[0].rstrip("="),
        GROUPS[0].replace("/", "_").replace("+", "-"),
        GROUPS[0] + " ",
        GROUPS[0].replace("D", "\uff24", 1),
        GROUPS[0][:-2] + "x=",
    ],
)
def test_only_the_very_group_lies_in_a_scope(spelt: str) -> None:
    """No pattern, no other case, no look-alike and no other spelling of the same bytes is taken for the group."""
    scope = Scope(groups=frozenset({GROUPS[0]}))
    assert scope.sees(GROUPS[0])
    assert not scope.sees(spelt)
    assert not allows(scope, Kind.ADD_MEMBERS, spelt, ACCOUNTS[0])
    assert not Scope(groups=frozenset({spelt})).sees(GROUPS[0])


def test_accounts_are_compared_without_their_case() -> None:
    """An address with a checksum is the same address."""
    scope = scope_of(None, [ACCOUNTS[0].upper().replace("0X", "0x")], None)
    assert allows(scope, Kind.ADD_MEMBERS, GROUPS[0], ACCOUNTS[0].upper().replace("0X", "0x"))
    assert not allows(scope, Kind.ADD_MEMBERS, GROUPS[0], ACCOUNTS[1])


def test_a_group_that_is_chosen_by_the_daemon_needs_a_scope_without_limit() -> None:
    """Who is limited to some groups can't have another one made."""
    with pytest.raises(ForbiddenError, match="not named"):
        Scope(groups=frozenset(GROUPS)).require(Kind.CREATE_GROUP, None, ACCOUNTS[0])
    EVERYTHING.require(Kind.CREATE_GROUP, None, ACCOUNTS[0])


def test_nothing_is_nothing() -> None:
    """Who has no scope sees no group, not even what belongs to none, and may ask for nothing."""
    assert not NOTHING.whole
    assert not NOTHING.sees("")
    assert not any(allows(NOTHING, kind, group, ACCOUNTS[0]) for kind in Kind for group in GROUPS)
