from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.membership.reasons.judgements import Judgement
from orchestrator.membership.reasons.table import RULES, Reason
from orchestrator.membership.retry import FIRST_DELAY, LONGEST_DELAY, backoff, decide
from tests.fakes.changes import a_change
from tests.fakes.clock import START


@given(key=st.text(), tries=st.integers(0, 10_000))
def test_a_pause_stays_within_its_bounds(key: str, tries: int) -> None:
    """A pause doubles from 1 s to 2 min and is spread by a quarter either way."""
    nominal = min(FIRST_DELAY * 2 ** min(tries, 20), LONGEST_DELAY)
    assert nominal * 0.75 <= backoff(key, tries) <= nominal * 1.25


@given(key=st.text(), tries=st.integers(0, 100))
def test_a_pause_can_be_worked_out_again(key: str, tries: int) -> None:
    """The same key and try give the same pause, so that a decision can be made again after a crash."""
    assert backoff(key, tries) == backoff(key, tries)


def test_changes_that_failed_together_do_not_come_back_together() -> None:
    """Of a hundred changes hardly two come back at the same moment."""
    assert len({backoff(f"change {n}", 5) for n in range(100)}) > 60


@pytest.mark.parametrize("slug", [s for s, rule in RULES.items() if rule.in_line])
def test_who_waits_for_another_change_looks_again_soon(slug: str) -> None:
    """However often a change found a node taken by another one of ours, it asks again within ten seconds."""
    for tries in range(50):
        decision = decide(replace(a_change("a"), tries=tries), Reason(slug=slug, times=tries + 1), START)
        assert decision.not_before is not None
        assert decision.not_before - START <= timedelta(seconds=10)


@pytest.mark.parametrize("slug", [s for s, rule in RULES.items() if rule.judgement is not Judgement.RETRY])
def test_what_can_not_pass_is_not_tried_again(slug: str) -> None:
    """Terminal and parked reasons are decided at once."""
    decision = decide(a_change("a"), Reason(slug=slug), START)
    assert decision.judgement is RULES[slug].judgement
    assert decision.not_before is None


@pytest.mark.parametrize("slug", [s for s, rule in RULES.items() if rule.patience is not None])
def test_patience_is_used_up_by_the_same_reason_in_a_row(slug: str) -> None:
    """A reason is tried again as often as its rule says, and parked the next time."""
    patience = RULES[slug].patience or 0
    assert decide(a_change("a"), Reason(slug=slug, times=patience), START).judgement is Judgement.RETRY
    assert decide(a_change("a"), Reason(slug=slug, times=patience + 1), START).judgement is Judgement.PARK


def test_what_costs_a_lock_is_tried_again_after_its_pause() -> None:
    """An enclave that is away is not asked with a locked group every second."""
    decision = decide(a_change("a"), Reason(slug="enclave_recipient_away"), START)
    assert decision.not_before is not None
    assert decision.not_before - START >= RULES["enclave_recipient_away"].pause > timedelta(0)


def test_other_reasons_tries_do_not_use_up_patience() -> None:
    """A change that waited a thousand times for a node meets a foreign lock with fresh patience."""
    change = a_change("a", tries=1000)
    decision = decide(change, Reason(slug="locked_by_other"), START)
    assert decision.judgement is Judgement.RETRY
    assert decision.not_before is not None
    assert decision.not_before - START >= LONGEST_DELAY * 0.75


def test_a_change_whose_deadline_comes_before_the_next_try_fails_now() -> None:
    """There is no use in waiting for a try that will not be made."""
    change = a_change("a", tries=6, deadline=START + timedelta(seconds=10))
    assert decide(change, Reason(slug="node_unreachable"), START).judgement is Judgement.TERMINAL
    early = a_change("a", tries=0, deadline=START + timedelta(seconds=10))
    assert decide(early, Reason(slug="node_unreachable"), START).judgement is Judgement.RETRY
