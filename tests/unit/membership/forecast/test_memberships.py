"""What a node replayed, by the logs of its groups."""

from orchestrator.membership.forecast.memberships import MembershipLog, left_at, replays_of


def log(group: str, number: int, member: str, *, added: bool = True) -> MembershipLog:
    return MembershipLog(
        privacy_group_id=group, block_number=number, block_hash=f"b{number}", member=member, added=added
    )


def replayed(keys: tuple[str, ...], held: tuple[str, ...], *logs: MembershipLog) -> list[tuple[str, int | None]]:
    return [(replay.privacy_group_id, replay.at_block) for replay in replays_of(keys, held, logs)]


def test_a_founder_replayed_nothing() -> None:
    """Who was there from the group's first block on executed it at first hand, whoever came later."""
    assert replayed(("a",), ("G",), log("G", 3, "a"), log("G", 3, "b"), log("G", 9, "c")) == []


def test_each_addition_that_brought_the_group_is_a_replay() -> None:
    """Joining late is one, and so is coming back."""
    logs = (log("G", 3, "b"), log("G", 7, "a"), log("G", 9, "a", added=False), log("G", 12, "a"))
    assert replayed(("a",), ("G",), *logs) == [("G", 7), ("G", 12)]


def test_a_founder_that_comes_back_replays_what_it_missed() -> None:
    """The first time was at first hand, the second is not."""
    logs = (log("G", 3, "a"), log("G", 3, "b"), log("G", 9, "a", added=False), log("G", 12, "a"))
    assert replayed(("a",), ("G",), *logs) == [("G", 12)]


def test_a_second_key_of_a_node_that_has_the_group_replays_nothing() -> None:
    """Two tenants of one node share its state."""
    assert replayed(("a", "a2"), ("G",), log("G", 3, "a"), log("G", 9, "a2")) == []


def test_a_group_without_a_membership_was_replayed_nobody_knows_when() -> None:
    """An addition that failed leaves a history behind; so may one that no log tells of."""
    assert replayed(("a",), ("G", "H"), log("G", 3, "b"), log("G", 3, "a")) == [("H", None)]
    assert replayed(("a",), ("G",), log("G", 3, "b"), log("G", 5, "c")) == [("G", None)]


def test_the_last_removal_counts() -> None:
    """A member may have left more than once."""
    logs = (log("G", 3, "a"), log("G", 5, "a", added=False), log("G", 7, "a"), log("G", 9, "a", added=False))
    assert left_at("a", logs) == 9
    assert left_at("b", logs) is None
