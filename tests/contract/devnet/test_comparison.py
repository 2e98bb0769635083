"""The comparison of recorded answers lets chance differ and nothing else."""

from typing import Any

import pytest

from tests.contract.devnet.comparison import GET_VERSION, Comparison

ONE, TWO, OTHER = "0x" + "11" * 32, "0x" + "22" * 32, "0x" + "33" * 32
TRUE, FALSE = "0x" + "00" * 31 + "01", "0x" + "00" * 32


def compare(method: str, params: list[Any], recorded: Any, actual: Any) -> list[str]:
    return Comparison(frozenset()).differences(method, params, recorded, actual)


def test_a_hash_may_be_another_hash_but_always_the_same_one() -> None:
    """Two nodes that shared a state root in the recording must share one on the devnet."""
    comparison = Comparison(frozenset())
    roots = [
        comparison.differences("priv_debugGetStateRoot", [], {"result": ONE}, {"result": actual})
        for actual in (TWO, TWO, OTHER)
    ]

    assert [bool(found) for found in roots] == [False, False, True]


def test_different_roots_must_stay_different() -> None:
    """Two nodes with different roots in the recording must not share one on the devnet."""
    comparison = Comparison(frozenset())
    comparison.differences("priv_debugGetStateRoot", [], {"result": ONE}, {"result": OTHER})

    assert comparison.differences("priv_debugGetStateRoot", [], {"result": TWO}, {"result": OTHER})


@pytest.mark.parametrize(
    ("recorded", "actual"),
    [
        ({"result": TRUE}, {"result": FALSE}),
        ({"result": None}, {"result": "0x"}),
        ({"error": {"code": -1, "message": "a"}}, {"error": {"code": -1, "message": "b"}}),
        ({"error": {"code": -1, "message": "a"}}, {"error": {"code": -2, "message": "a"}}),
        ({"result": {"status": "0x1"}}, {"result": {"status": "0x0"}}),
        ({"result": {"status": "0x0"}}, {"result": {"status": "0x0", "revertReason": "0x"}}),
        ({"result": {"logs": [{"data": ONE}]}}, {"result": {"logs": [{"data": TWO}]}}),
        ({"result": {"output": ONE}}, {"result": {"output": TWO}}),
        ({"result": []}, {"result": [1]}),
    ],
)
def test_what_means_something_else_is_a_difference(recorded: Any, actual: Any) -> None:
    """Flags, codes, messages, statuses, outputs, data, field sets and lengths must be those recorded."""
    assert compare("priv_call", ["group", {"data": "0x78b90337"}, "latest"], recorded, actual)


def test_a_version_is_compared_as_a_hash() -> None:
    """The group's version depends on block hashes, so only its presence and its equality count."""
    params = ["group", {"data": GET_VERSION}, "latest"]

    assert not compare("priv_call", params, {"result": ONE}, {"result": TWO})
    assert compare("priv_call", params, {"result": ONE}, {"result": "0x"})
