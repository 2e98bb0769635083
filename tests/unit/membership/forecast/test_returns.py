"""Which ways back an addition closes, compared with what becomes of the maps."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.membership.forecast.histories import GroupBlock, GroupHistory, Replay
from orchestrator.membership.forecast.memberships import MembershipLog
from orchestrator.membership.forecast.newcomers import Departure, NewcomerFacts, departure
from orchestrator.membership.forecast.returns import LeftGroup, after_removal, left_groups, return_at_risk
from orchestrator.membership.forecast.verdict import Danger, Scope
from orchestrator.membership.reasons.table import Reason
from tests.fakes.forecasts import REPLAY, a_safe_forecast
from tests.fakes.head_maps import Act, SmallWorld

LEFT = 3


def numbers(world: SmallWorld, group: str) -> list[int]:
    return [number for number, _ in world.blocks(group)]


def join(world: SmallWorld, group: str) -> Replay:
    """Add N with a block between lock and addition; returns its replay."""
    world.mine([Act(group=group, kind="lock")])
    world.mine([])
    replayed = frozenset(numbers(world, group))
    world.mine([Act(group=group, kind="add", keys=("N",))])
    world.mine([])
    return Replay(privacy_group_id=group, at_block=world.head - 1, blocks=replayed)


def way_back(world: SmallWorld, replays: tuple[Replay, ...]) -> Departure:
    """What the rules say of N's return to X."""
    blocks = tuple(GroupBlock(number=n, block_hash="", state_root=root) for n, root in world.blocks("X"))
    history = GroupHistory(privacy_group_id="X", blocks=blocks, through=world.head, through_hash="")
    roots = {number: world.root("N", "X", number) for number in range(LEFT, world.head + 1)}
    return departure(
        history,
        NewcomerFacts(enclave_key="N", node="n", head=world.head, holds=True, roots=roots, replays=replays),
    )


groups = st.frozensets(st.sampled_from(["G", "H", "X"]))


@settings(deadline=None)
@given(at=groups, after=groups, later=groups, joins_h=st.booleans())
def test_what_is_warned_of_is_what_happens(
    at: frozenset[str], after: frozenset[str], later: frozenset[str], joins_h: bool
) -> None:
    """Of an open way back the warning is certain exactly when the return is refused after the addition."""
    world = SmallWorld("S", "N")
    world.mine([Act(group="X", kind="create", keys=("T", "N"))])
    world.mine([Act(group=group, kind="create", keys=("T", "S")) for group in ("G", "H")])
    removal = Act(group="X", kind="remove", keys=("N",))
    world.mine([removal, *(Act(group=group, kind="tx") for group in sorted(at - {"X"}))])
    for written in (after, later):
        world.mine([Act(group=group, kind="tx") for group in sorted(written)])
    world.mine([])
    replays = (join(world, "H"),) if joins_h else ()
    was_open = way_back(world, replays).trouble is None
    risk = return_at_risk(
        "N",
        "n",
        LeftGroup(privacy_group_id="X", block_number=LEFT),
        numbers(world, "G"),
        goes_on=LEFT + 1 in numbers(world, "X"),
        earlier=any(replay.disturbs(LEFT) for replay in replays),
    )
    is_open = way_back(world, (*replays, join(world, "G"))).trouble is None
    if was_open:
        assert (risk is not None and risk.certain) is not is_open
    else:
        assert not is_open


def test_what_is_not_seen_is_a_perhaps() -> None:
    """Where it is not known whether the left group goes on in the next block, the warning says so."""
    left = LeftGroup(privacy_group_id="X", block_number=LEFT)
    risk = return_at_risk("N", "n", left, {LEFT}, goes_on=None, earlier=False)
    assert risk is not None
    assert not risk.certain
    assert "not seen from here" in risk.detail
    assert return_at_risk("N", "n", left, {LEFT}, goes_on=False, earlier=False) is None


def test_a_node_has_left_when_its_last_key_has() -> None:
    """Of two keys of a node the second's removal counts; a return undoes it, and others' keys are nobody's."""

    def log(number: int, member: str, group: str, *, added: bool) -> MembershipLog:
        return MembershipLog(privacy_group_id=group, block_number=number, block_hash="", member=member, added=added)

    logs = [log(1, key, "X", added=True) for key in ("N", "N2", "T")] + [log(2, "N", "X", added=False)]
    assert left_groups({"N", "N2"}, logs) == ()
    logs.append(log(5, "N2", "X", added=False))
    assert left_groups({"N", "N2"}, logs) == (LeftGroup(privacy_group_id="X", block_number=5),)
    assert left_groups({"N", "N2"}, [*logs, log(9, "N", "X", added=True)]) == ()
    assert left_groups({"N"}, [log(1, "T", "Y", added=True), log(2, "T", "Y", added=False)]) == ()


def test_a_removal_leaves_the_past_of_its_member_behind() -> None:
    """What an older map would do to a return now is over with the removal, where the member has all that there is."""
    unsafe = Danger(scope=Scope.MEMBER, reason=Reason(slug="former_member_unsafe", members=(REPLAY.enclave_key,)))
    torn = Danger(scope=Scope.SENDER, reason=Reason(slug="bundle_may_be_torn"))
    found = replace(a_safe_forecast(), dangers=(unsafe, torn), replays=(replace(REPLAY, blocks=0),))
    assert after_removal(found).dangers == (torn,)
    behind = replace(found, replays=(replace(REPLAY, blocks=1),))
    assert after_removal(behind).dangers == (unsafe, torn)
