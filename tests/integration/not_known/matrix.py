"""Every call of a change, silenced once: which points there are, and what may differ from an undisturbed run."""

from collections import Counter

from orchestrator.besu.transport.http_client import is_read
from tests.integration.not_known.changes import End
from tests.simulation.proxy import Point, Seen, Silence

STRIDE = 3
"""Of what is not a `null`, every third point is tried; with each kind of silence it begins elsewhere."""


def points(undisturbed: End, *, full: bool) -> list[Point]:
    """Return where nodes are silent: `null` is the answer to a call, all else befalls those that travel together.

    Args:
        undisturbed: The change without any silence.
        full: Whether all points are wanted.
    """
    chosen = []
    for turn, silence in enumerate(Silence):
        numbers = [number for number, seen in enumerate(undisturbed.seen) if _meets(seen, silence)]
        stride = 1 if full or silence is Silence.NULL else STRIDE
        chosen += [Point(number, silence) for number in numbers[turn % stride :: stride]]
    return chosen


def _meets(seen: Seen, silence: Silence) -> bool:
    """Return whether a call can be silenced so; a replica that is late takes what is sent as any other does."""
    return silence is Silence.NULL or (seen.first and (silence is not Silence.LATE_REPLICA or is_read(seen.method)))


def wrong_with(point: Point, end: End, undisturbed: End) -> str | None:
    """Return what does not hold at the end, None when all does."""
    found: list[str] = list(end.broken)
    if end.silenced != undisturbed.seen[point.number]:
        found.append(f"the proxy was silent at {end.silenced}, not at {undisturbed.seen[point.number]}")
    if end.state != undisturbed.state:
        found.append(f"the change ended as {end.state}")
    if end.members != undisturbed.members:
        found.append(f"members {sorted(end.members)}")
    if end.locked:
        found.append("the group is locked")
    if end.executed != undisturbed.executed:
        found.append(f"executed {end.executed}")
    if end.undecided:
        found.append(f"{end.undecided} attempts can still be mined")
    if end.reorganisations:
        found.append(f"{end.reorganisations} reorganisations, of which there were none")
    if more := Counter(end.attempts) - Counter(undisturbed.attempts):
        found.append(f"more attempts: {dict(more)}")
    if not found:
        return None
    seen = undisturbed.seen[point.number]
    return f"{point.silence} at call {point.number}, {seen.method} of {seen.node}: " + "; ".join(found)
