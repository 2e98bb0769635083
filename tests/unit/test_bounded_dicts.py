"""Dictionaries of a bounded size."""

from orchestrator.bounded_dicts import BoundedDict


def test_what_was_set_longest_ago_makes_room() -> None:
    """An item that is set again is the newest; reading one keeps nothing."""
    kept: BoundedDict[str, int] = BoundedDict(2)
    kept["a"], kept["b"], kept["a"] = 1, 2, 3
    assert kept["b"] == 2
    kept["c"] = 4
    assert kept == {"a": 3, "c": 4}
    kept.setdefault("d", 5)
    assert list(kept) == ["c", "d"]
