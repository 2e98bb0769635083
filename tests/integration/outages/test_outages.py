"""Outages of enclaves, nodes and their interfaces: a few of those that ``make outages`` plays."""

from itertools import product

import pytest

from tests.integration.outages.cases import CASES, KINDS, MEMBERS, WAYS, Case
from tests.integration.outages.playing import play_through

PLAYED = tuple(
    case
    for case in CASES
    if (case.way.name, case.way.moment.value, case.member)
    in {
        ("enclave killed", "asked for", 2),
        ("enclave killed", "locked", 1),
        ("enclave killed", "sent", 3),
        ("enclave frozen", "locked", 3),
        ("enclave restarted", "locked", 1),
        ("enclave failing", "locked", 2),
        ("node without peers", "asked for", 1),
        ("interface losing answers", "asked for", 1),
    }
)
"""What a plain retry does not outlive: each of them once broke a rule, or ended as a change that failed for good."""


def test_every_outage_is_tried_with_both_kinds_of_enclave() -> None:
    """There are 75 outages, the same with Orion and with Tessera, and each of them once."""
    tried = [(case.enclave, case.way.name, case.way.moment, case.member) for case in CASES]
    assert len(WAYS) * len(MEMBERS) == 75
    assert len(set(tried)) == len(tried) == 75 * len(KINDS)
    assert len(PLAYED) == 8 * len(KINDS)
    assert {case.enclave for case in PLAYED} == set(KINDS)
    assert {(case.way.moment, case.member) for case in CASES if "enclave" in case.way.name} == set(
        product({way.moment for way in WAYS}, MEMBERS)
    )


@pytest.mark.parametrize("case", PLAYED, ids=lambda case: case.name)
def test_a_change_outlives_an_outage(case: Case) -> None:
    """The member is added by itself when the outage is over, nothing is locked, and no block had two tries."""
    assert play_through(case).broken == ()
