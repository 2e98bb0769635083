"""Running several units of work within one transaction."""

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, Self, runtime_checkable

from orchestrator.store.commits.transaction import Transaction, Unit


@dataclass(frozen=True, slots=True)
class Job:
    """A unit of work that waits.

    Attributes:
        unit: The work.
        key: The one group whose lane it locks; None for one that locks several and needs a transaction of its own.
        since: When it began to wait, by the monotonic clock, in seconds.
    """

    unit: Unit[Any]
    key: str | None
    since: float = field(default_factory=time.monotonic)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a unit of work.

    Attributes:
        value: What it returned.
        error: What it raised; nothing of it was committed then.
        work: Its transaction made something due.
        position: The newest position that its transaction gave to a status event; 0 for none.
    """

    value: Any = None
    error: BaseException | None = None
    work: bool = False
    position: int = 0


@runtime_checkable
class Joint(Protocol):
    """A unit of work of which many are done with as many statements as one."""

    def __call__(self, transaction: Transaction) -> Any:
        """Do it alone."""

    def together(self, transaction: Transaction, units: Sequence[Self]) -> list[Any | Exception]:
        """Do several, `self` among them; an error in the answer stands for a unit that wrote nothing."""


def run_all(transaction: Transaction, jobs: Sequence[Job]) -> list[Any | Exception]:
    """Run units of work and what is done once at the end of their transaction.

    Returns:
        What each returned, or for joint ones the error of one that wrote nothing.

    Raises:
        Exception: What a unit raised; the transaction has to be rolled back.
    """
    # One order of locking for everybody, so that two replicas can't wait for each other.
    transaction.lock(job.key for job in jobs if job.key is not None)
    # By place: each waiting unit gets its own answer back, in whatever order they are done.
    values: list[Any] = [None] * len(jobs)
    joint: dict[type, list[int]] = defaultdict(list)
    for place, job in enumerate(jobs):
        if isinstance(job.unit, Joint):
            joint[type(job.unit)].append(place)
        else:
            values[place] = job.unit(transaction)
    for places in joint.values():
        units: list[Any] = [jobs[place].unit for place in places]
        for place, value in zip(places, units[0].together(transaction, units), strict=True):
            values[place] = value
    transaction.finish()
    return values
