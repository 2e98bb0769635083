"""Mistakes that are planted on purpose: a simulator that does not find them would not find others either."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from tests.simulation import mistakes, replay_mistakes
from tests.simulation.fault_profile import Family

WITHIN_SEEDS: Final = 200
"""In so many seeds of its family a mistake is found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """A mistake and where it shows.

    Attributes:
        plant: Plants it while a block runs.
        family: Seeds that are apt to show it.
        first: Where the search begins: the first seed that showed it when this was written, of those from 1, so that a
            test takes seconds. When the engine has changed so that it does not show there, it is searched for on.
    """

    plant: Callable[[], contextlib.AbstractContextManager[Any]]
    family: Family
    first: int = 1


PLANTED: Final = {
    found.plant.__name__: found
    for found in (
        Mistake(plant=mistakes.acknowledged_before_commit, family=Family.STORMS),
        Mistake(plant=mistakes.lock_not_undone, family=Family.STORMS, first=3),
        Mistake(plant=mistakes.lease_not_checked, family=Family.STORMS),
        Mistake(plant=mistakes.woken_replica_sends, family=Family.PAUSES, first=11),
        Mistake(plant=mistakes.fencing_not_checked, family=Family.STORMS, first=110),
        Mistake(plant=mistakes.sent_before_stored, family=Family.STORMS),
        Mistake(plant=mistakes.second_distribution, family=Family.STORMS, first=19),
        Mistake(plant=mistakes.depth_not_waited_for, family=Family.STORMS, first=23),
        Mistake(plant=mistakes.unlocked_after_blocks, family=Family.WINDOWS, first=4),
        Mistake(plant=mistakes.burn_not_awaited, family=Family.STORMS, first=100),
        Mistake(plant=mistakes.group_not_looked_at, family=Family.STORMS, first=185),
        Mistake(plant=mistakes.removal_overtaken, family=Family.STORMS, first=11),
        Mistake(plant=mistakes.retry_overtaken, family=Family.STORMS, first=2),
        Mistake(plant=mistakes.one_key_for_markers, family=Family.REPLAYS),
        Mistake(plant=mistakes.window_of_one, family=Family.REPLAYS),
        Mistake(plant=replay_mistakes.lock_block_not_looked_at, family=Family.REPLAYS, first=4),
        Mistake(plant=replay_mistakes.accounts_not_counted, family=Family.REPLAYS, first=3),
        Mistake(plant=replay_mistakes.any_sender, family=Family.REPLAYS, first=15),
        Mistake(plant=replay_mistakes.neighbours_only, family=Family.REPLAYS, first=47),
        Mistake(plant=replay_mistakes.roots_only, family=Family.REPLAYS, first=10),
        Mistake(plant=replay_mistakes.old_prefix_check, family=Family.REPLAYS, first=15),
        Mistake(plant=replay_mistakes.repair_from_old_verdict, family=Family.REPLAYS, first=34),
    )
}


@contextlib.contextmanager
def planted(name: str | None) -> Iterator[None]:
    """Plant a mistake while the block runs; None plants nothing."""
    with PLANTED[name].plant() if name is not None else contextlib.nullcontext():
        yield
