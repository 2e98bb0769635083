from collections.abc import Callable
from dataclasses import replace

from orchestrator.membership import facts
from orchestrator.membership.attempt import Action
from orchestrator.membership.commands import Observe
from orchestrator.membership.machine import next_command, step
from orchestrator.membership.model import Change, Kind, State
from tests.fakes.changes import a_change, an_attempt
from tests.fakes.clock import START
from tests.fakes.surveys import NEW, OLD, SECOND, a_member, a_survey, an_effect, observed, seen


def test_an_addition_from_request_to_proof() -> None:
    """The facts of an ordinary addition, one after the other."""
    change = a_change("a", members=(NEW,))
    effect = an_effect(13)
    lock = an_attempt("l", private_nonce=1, since_block=10)
    add = an_attempt("d", action=Action.ADD, private_nonce=2, since_block=11, members=(NEW,))
    everybody = (seen(key, 13, 14, 15, effect=effect) for key in (OLD, SECOND, NEW))
    steps: list[tuple[facts.Fact, Callable[[Change], bool]]] = [
        (facts.Claimed(lead_id="change-a"), lambda c: c.state is State.PREFLIGHT),
        (a_survey(a_member()), lambda c: c.state is State.LOCKING),
        (facts.AttemptSigned(attempt=lock), lambda c: c.attempt == lock),
        (facts.AttemptSent(head=10), lambda c: c.in_flight is not None),
        (facts.AttemptSettled(effect=an_effect(11, (OLD, SECOND), locked=True)), lambda c: c.lock_block == 11),
        (facts.AttemptSigned(attempt=add), lambda c: c.state is State.ADDING),
        (facts.AttemptSent(head=12), lambda c: c.in_flight is not None),
        (facts.AttemptSettled(effect=effect), lambda c: c.state is State.REPLAYING and c.lock_block is None),
        (observed(*everybody, effect=effect, head=15), lambda c: c.state is State.SUCCEEDED),
    ]
    for fact, holds in steps:
        change = step(change, fact, START)
        assert holds(change), (fact, change)
        assert (next_command(change) is None) is change.ended
    assert next_command(change) is None
    assert change.kind is Kind.ADD_MEMBERS
    assert next_command(replace(change, state=State.REPLAYING)) == Observe()
