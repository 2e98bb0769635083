import base64

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.membership.key_lengths import unfit_keys
from orchestrator.membership.reasons.judgements import Judgement
from orchestrator.membership.reasons.table import describe, rule_of

SHORT = base64.b64encode(bytes(32)).decode()
LONG = base64.b64encode(bytes(91)).decode()


@given(st.lists(st.sampled_from([SHORT, LONG])), st.sampled_from(["bytes", "bytes32"]))
def test_long_keys_are_refused_where_the_contract_has_no_place_for_them(keys: list[str], abi: str) -> None:
    """Exactly the EC keys of an addition to a group of the old dialect are refused, and no others."""
    reason = unfit_keys(keys, abi)
    assert (reason is not None) is (abi == "bytes32" and LONG in keys)
    if reason is not None:
        assert set(reason.members) == {LONG}


def test_the_refusal_names_the_line_that_takes_such_keys() -> None:
    """The change fails, the others of its turn go on, and a person is told since when such keys are held."""
    reason = unfit_keys([LONG], "bytes32")
    assert reason is not None
    assert rule_of(reason).judgement is Judgement.TERMINAL
    assert rule_of(reason).member_specific
    assert "22.10" in describe(reason)
