"""A soak takes a refused return for right exactly where the member's node shows what the refusal says."""

import json

import pytest
import sqlalchemy as sa

from tests.integration.harm.returns import Return
from tests.soak.checks import refused_returns

SAID = "node member3 executed the group last in block 18, and at block 19 does not show what the group was then"
BROKEN = Return(last=18, astray=frozenset({19}))


def parked_for(slug: str, detail: str, state: str = "parked") -> sa.Engine:
    """A store with one change."""
    engine = sa.create_engine("sqlite://", poolclass=sa.StaticPool)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE changes (request_id TEXT, state TEXT, reason TEXT)"))
        values = {"state": state, "reason": json.dumps({"slug": slug, "detail": detail})}
        connection.execute(sa.text("INSERT INTO changes VALUES ('asked', :state, :reason)"), values)
    return engine


def test_a_refusal_that_the_node_confirms_is_right() -> None:
    """The block of its last transaction, and one at which it does not show it."""
    assert refused_returns(parked_for("former_member_unsafe", SAID), {"asked": BROKEN}) == {"asked"}


@pytest.mark.parametrize(
    "has",
    [
        {},
        {"other": BROKEN},
        {"asked": Return(last=None, astray=frozenset())},
        {"asked": Return(last=18, astray=frozenset())},
        {"asked": Return(last=18, astray=frozenset({20}))},
        {"asked": Return(last=17, astray=frozenset({18, 19}))},
    ],
)
def test_a_refusal_that_the_node_does_not_confirm_is_a_problem(has: dict[str, Return]) -> None:
    """Nothing is known of it, the node shows it all, or it shows something else than is said."""
    assert refused_returns(parked_for("former_member_unsafe", SAID), has) == set()


@pytest.mark.parametrize(
    ("slug", "detail", "state"),
    [
        ("former_member_unsafe", "node member3 has state for the group that no healthy member ever had", "parked"),
        ("member_diverged", SAID, "parked"),
        ("former_member_unsafe", SAID, "queued"),
    ],
)
def test_nothing_else_is_taken_for_it(slug: str, detail: str, state: str) -> None:
    """Another reason, another cause, or a change that is not left to a person."""
    assert refused_returns(parked_for(slug, detail, state), {"asked": BROKEN}) == set()
