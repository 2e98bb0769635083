"""What the forecast lets through harms nobody, and what each rule is there for shows when it is left out."""

from collections.abc import Callable
from itertools import product
from random import Random

import pytest

from orchestrator.membership.forecast import outlook
from orchestrator.membership.forecast.histories import GroupHistory
from orchestrator.membership.forecast.newcomers import Departure, NewcomerFacts, departure, executed_last
from orchestrator.membership.forecast.senders import Bundle, SenderFacts, SenderStanding, standing
from tests.fakes.group_runs import Run, Schedule, Tally
from tests.fakes.head_maps import Act, HeadMaps, SmallWorld
from tests.fakes.reference_head_maps import ReferenceWorld, present

World = Callable[..., HeadMaps]
WORLDS: list[World] = [SmallWorld, *([ReferenceWorld] if present() else [])]

LIVES = 400
SEARCHED = 4_000
"""In how many runs a mistake has to show."""


def run(world: World, seed: int, schedule: Schedule, tally: Tally) -> str | None:
    """Make one run of up to three groups, one or two newcomers, some groups founded by a newcomer's node."""
    random = Random(seed)  # noqa: S311 - runs that come again with their seed
    newcomers = ("N", "M")[: random.choice((1, 2))]
    groups = ("G", "H", "X")[: random.choice((2, 3))]
    run = Run(world=world(*newcomers), groups=groups, newcomers=newcomers, schedule=schedule, tally=tally)
    run.found(lambda group: ("N",) if group == "X" else ())
    return run.run(random, random.choice((10, 14, 18)))


def first_trouble(world: World, schedule: Schedule, runs: int, tally: Tally | None = None) -> str | None:
    """Return what goes wrong first in so many runs."""
    counted = tally or Tally()
    troubles = (run(world, seed, schedule, counted) for seed in range(runs))
    return next((trouble for trouble in troubles if trouble is not None), None)


SCHEDULES = [
    Schedule(),
    Schedule(written=0.2),
    Schedule(written=0.8, founder_sends=False),
    Schedule(founder_sends=False, written=0.3),
    Schedule(traffic=0.1),
    Schedule(window=3, traffic=0.05, founder_sends=False),
]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
@pytest.mark.parametrize("world", WORLDS)
def test_what_is_let_through_harms_nobody(world: World, schedule: Schedule) -> None:
    """With all rules no node halts and no member loses anything, while most additions go on."""
    tally = Tally()
    assert first_trouble(world, schedule, LIVES, tally) is None
    assert tally.added > LIVES / 2
    assert tally.added_again > LIVES / 20


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize(
    "schedule",
    [
        pytest.param(Schedule(window=1), id="window of one"),
        pytest.param(Schedule(traffic=0.1, looks_again=False), id="lock's block not looked at"),
        pytest.param(Schedule(alone=False), id="re-addition beside another addition"),
    ],
)
def test_a_schedule_that_is_wrong_shows(world: World, schedule: Schedule) -> None:
    """A driver that does not keep to the schedule harms somebody."""
    assert first_trouble(world, schedule, SEARCHED) is not None


@pytest.mark.parametrize("world", WORLDS)
def test_who_lost_a_group_by_a_short_window_can_come_back(world: World) -> None:
    """A damaged member is removed and, where the forecast says so, added again: most are, and none halts."""
    tally, lost = Tally(), 0
    for seed in range(LIVES):
        random = Random(seed)  # noqa: S311 - runs that come again with their seed
        run = Run(world=world("N", "M"), groups=("G", "H", "X"), newcomers=("N", "M"), schedule=Schedule(window=1))
        run.found(lambda group: ("N",) if group == "X" else ())
        run.run(random, 12)
        if run.world.stands("N") or run.world.stands("M"):
            continue
        gone = [(group, node) for group in run.groups for node in run.lost(group)]
        unlocked = [
            Act(group=group, kind="unlock") for group in dict.fromkeys(g for g, _ in gone) if group in run.locked
        ]
        for act in unlocked:
            del run.locked[act.group]
        run.world.mine(unlocked)
        run.world.mine([Act(group=group, kind="remove", keys=(node,)) for group, node in gone])
        lost += len(gone)
        run.schedule, run.tally = Schedule(written=0.3), tally
        assert run.run(random, 12) is None
    assert lost > LIVES / 2
    assert tally.added_again > lost / 3


@pytest.mark.parametrize("world", WORLDS)
def test_a_founders_bundle_is_judged_exactly_and_a_joiners_never_too_well(world: World) -> None:
    """What is torn is never passed; of groups that a node founded and never left nothing whole is refused."""
    torn = whole = 0
    for seed in range(LIVES):
        random = Random(seed)  # noqa: S311 - runs that come again with their seed
        run = Run(world=world("N"), groups=("G", "H", "X"), newcomers=("N",), schedule=Schedule(written=0.6))
        run.found(lambda group: ("N",) if group == "X" else ())
        assert run.run(random, 12) is None
        for group in run.groups:
            if "N" not in run.world.members(group):
                continue
            usable = standing(run.history(group), run.sender("N", group)).usable
            sends_whole = run.world.sends_whole("N", group)
            torn, whole = torn + (not sends_whole), whole + sends_whole
            assert sends_whole or not usable
            never_left = all(at[0] != group for at in run.replays.get("N", []))
            assert usable == sends_whole or group != "X" or not never_left
    assert torn > LIVES / 40
    assert whole > LIVES / 3


def test_the_models_agree() -> None:
    """Two descriptions of the same mechanism, made apart, show the same roots through random runs."""
    for seed in range(LIVES):
        runs = []
        for world in WORLDS:
            random = Random(seed)  # noqa: S311 - runs that come again with their seed
            run = Run(world=world("N", "M"), groups=("G", "H", "X"), newcomers=("N", "M"), schedule=Schedule(window=1))
            run.found(lambda group: ("N",) if group == "X" else ())
            runs.append((run.run(random, 14), run))
        first = runs[0][1].world
        for trouble, run in runs:
            assert trouble == runs[0][0]
            for node, group in product(("T", "N", "M"), run.groups):
                if not first.stands(node):
                    shown = [run.world.root(node, group, number) for number in range(run.world.head + 1)]
                    assert shown == [first.root(node, group, number) for number in range(first.head + 1)]


def any_sender(history: GroupHistory, sender: SenderFacts) -> SenderStanding:
    return SenderStanding(enclave_key=sender.enclave_key, node=sender.node, bundle=Bundle.WHOLE)


def neighbours_only(history: GroupHistory, sender: SenderFacts) -> SenderStanding:
    found = standing(history, sender)
    torn_by_neighbour = found.bundle is Bundle.TORN and "replayed" in found.detail
    return found if torn_by_neighbour else any_sender(history, sender)


def roots_only(history: GroupHistory, sender: SenderFacts) -> SenderStanding:
    found = standing(history, sender)
    torn_by_root = found.bundle is Bundle.TORN and "does not show" in found.detail
    return found if torn_by_root else any_sender(history, sender)


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("mistaken", [any_sender, neighbours_only, roots_only])
def test_a_sender_that_is_not_looked_at_shows(
    world: World,
    mistaken: Callable[[GroupHistory, SenderFacts], SenderStanding],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without the whole rule of the sender a newcomer gets a torn bundle and halts."""
    monkeypatch.setattr(outlook, "standing", mistaken)
    assert first_trouble(world, Schedule(founder_sends=False, written=0.6), SEARCHED) is not None


def anybody(history: GroupHistory, newcomer: NewcomerFacts) -> Departure:
    return Departure(last=executed_last(history, newcomer.roots.get(newcomer.head or 0, "")) or 0)


def newcomers_roots_only(history: GroupHistory, newcomer: NewcomerFacts) -> Departure:
    found = departure(history, newcomer)
    return found if found.trouble is not None and "over it" not in found.trouble else anybody(history, newcomer)


def old_prefix(history: GroupHistory, newcomer: NewcomerFacts) -> Departure:
    """The root at the head was the group's once: what looking at a few blocks by bisection amounts to."""
    last = executed_last(history, newcomer.roots.get(newcomer.head or 0, ""))
    trouble = None if last is not None or not newcomer.holds else "no prefix"
    return Departure(last=last or 0, trouble=trouble)


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("mistaken", [anybody, newcomers_roots_only, old_prefix])
def test_a_former_member_that_is_not_looked_at_shows(
    world: World,
    mistaken: Callable[[GroupHistory, NewcomerFacts], Departure],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without the whole rule of re-additions a former member's node halts."""
    monkeypatch.setattr(outlook, "departure", mistaken)
    assert first_trouble(world, Schedule(written=0.4), SEARCHED) is not None
