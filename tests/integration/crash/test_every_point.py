"""The crash matrix: SIGKILL before and after each commit and each request to a node.

A point is the n-th commit or the n-th HTTP request since the request for the change was accepted, as undisturbed runs
show them; a run that happens to do with fewer does not reach the last ones. `launcher` says what a run is. What a
request that only reads leaves behind is what the last commit left: of those that follow each other one of a kind is
tried. The statements of a commit do not depend on the kind of change, so that PostgreSQL sees each kind of commit once.
"""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import pytest

from tests.integration.crash.launcher import SENDING, Point
from tests.integration.crash.two_runs import End, Harness, harness
from tests.servers.postgresql_server import PostgreSQLServer

pytestmark = pytest.mark.timeout(600)

PREPARATION = "tests.integration.crash.preparation"
AT_ONCE = 5
RECOVERY_SECONDS = 2.0
"""Of processor time; by the clock on the wall, with fewer runs at once, ``make bench`` measures it."""
UNDISTURBED = 3
LEAST_REACHED = 0.8
"""How often a run reads depends on when its blocks come, the more so since empty blocks are not asked about."""
LEAVING = {"commit", "send"}
"""Kinds of points that leave something behind."""
EXPECTED = {
    "create_group": (1, frozenset({0, 1})),
    "add_members": (2, frozenset({0, 1, 2})),
    "remove_members": (1, frozenset({0, 1})),
}
"""What is asked → how many transactions execute for it, and the members that the group then has."""


Choice = Callable[[Sequence[End]], set[Point]]
"""Chooses points from what undisturbed runs show."""


def that_differ(ends: Sequence[End]) -> set[Point]:
    """Choose all commits, all that send, and of what only reads each method once between two of those.

    Who dies after a read leaves what it would have left before it.
    """
    chosen = {point for point in seen_in(*ends) if point.kind in LEAVING}
    read: set[str] = set()
    for point, label in since_accepted(ends[0]):
        if point.kind in LEAVING:
            read.clear()
        elif point.when == "before" and label not in read:
            read.add(label)
            chosen.add(point)
    return chosen


def of_each_kind(ends: Sequence[End]) -> set[Point]:
    """Choose all that send, and each kind of commit once, by what is written in it."""
    first: dict[tuple[str, str], Point] = {}
    for point, label in since_accepted(ends[0]):
        if point.kind == "commit":
            first.setdefault((label, point.when), point)
    return {*first.values()} | {point for point in seen_in(*ends) if point.kind == "send"}


CASES: dict[str, tuple[str, str, Choice]] = {
    "add": ("sqlite", "add_members", that_differ),
    "create": ("sqlite", "create_group", that_differ),
    "remove": ("sqlite", "remove_members", that_differ),
    "add on postgresql": ("postgresql", "add_members", of_each_kind),
}


@pytest.mark.parametrize(("store", "kind", "choice"), CASES.values(), ids=CASES)
async def test_the_change_survives_death_at_every_point(
    request: pytest.FixtureRequest, tmp_path: Path, nats_url: str, store: str, kind: str, choice: Choice
) -> None:
    """Killed before or after any commit or request, the daemon ends the change as asked once it is started again.

    Each transaction executed once, the group is unlocked and nothing that was signed can still be mined, all events are
    stored and published without a gap, and the second run is back at work within 2 s of processor time, without
    waiting for a lease to run out: that takes longer than the change may.
    """
    server: PostgreSQLServer | None = request.getfixturevalue("postgresql_server") if store == "postgresql" else None
    async with harness(tmp_path, nats_url, server, preload=PREPARATION) as set_up:
        undisturbed = await _die_at_each(set_up, kind, [None] * UNDISTURBED)
        assert [wrong_with(kind, None, end) for end in undisturbed] == [None] * UNDISTURBED
        assert len(seen_in(*undisturbed)) > 40
        sending = [[label for point, label in since_accepted(end) if point.kind == "send"] for end in undisturbed]
        # An addition's distribution travels behind a question for the head, in one request.
        sent = [SENDING & {method for label in labels for method in label.split("+")} for labels in sending]
        assert sent == [SENDING] * UNDISTURBED, "each transaction is distributed, and its marker broadcast"
        points = sorted(choice(undisturbed))
        lived = list(zip(points, await _die_at_each(set_up, kind, points), strict=True))
        # How often a run reads depends on when its blocks come: who did with fewer gets another run.
        missed = [point for point, end in lived if not end.died]
        lived += zip(missed, await _die_at_each(set_up, kind, missed), strict=True)

    wrong = [found for point, end in lived if (found := wrong_with(kind, point, end)) is not None]
    assert not wrong, f"{len(wrong)} of {len(points)} points\n" + "\n\n".join(wrong[:3])
    died = [end for _, end in lived if end.died]
    recoveries = [end.recovery for end in died if end.recovery is not None]
    seconds = sorted(recovery.seconds for recovery in recoveries)
    processor_seconds = max(recovery.processor_seconds for recovery in recoveries)
    print(  # noqa: T201 - figures for who asks with -s
        f"\n{kind}, {store}: died at {len(died)} of {len(points)} points; recovery: median {median(seconds):.2f} s and "
        f"longest {seconds[-1]:.2f} s with {AT_ONCE} at once, of the processor at most {processor_seconds:.2f} s"
    )
    assert len(died) >= LEAST_REACHED * min(len(seen_in(end) & set(points)) for end in undisturbed)
    assert processor_seconds <= RECOVERY_SECONDS


async def _die_at_each(set_up: Harness, kind: str, points: Sequence[Point | None]) -> list[End]:
    places = asyncio.Semaphore(AT_ONCE)

    async def die_at(point: Point | None) -> End:
        async with places:
            return await set_up.run_twice(kind, point)

    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(die_at(point)) for point in points]
    return [task.result() for task in running]


def seen_in(*ends: End) -> set[Point]:
    """The points of some runs since their request was accepted."""
    return {point for end in ends for point, _ in since_accepted(end)}


def since_accepted(end: End) -> list[tuple[Point, str]]:
    """The points of a run since its request was accepted, in order, and what was done at each."""
    return [(moment.point, moment.label) for moment in end.first_run if moment.point.number > 0]


def wrong_with(kind: str, point: Point | None, end: End) -> str | None:
    """Return what does not hold at the end, None when all does."""
    transactions, members = EXPECTED[kind]
    without_gap = tuple(range(1, len(end.sequences) + 1))
    found = (end.state, end.transactions, end.members, end.locked, end.undecided, end.sequences, end.published)
    expected = ("succeeded", transactions, members, False, (), without_gap, without_gap)
    return None if found == expected else f"{point}: {found} instead of {expected}\n{end.reason}\n{end.log[-4000:]}"
