"""The store as one replica reaches it: the real SQL on one database in memory, behind a way that loses things.

Like the real writer thread, a replica's waiting units of work are committed together, those of several lanes each in a
transaction of their own.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import sqlalchemy as sa

from orchestrator.store.commits.database import Database
from orchestrator.store.commits.shared_transactions import Job, Outcome
from orchestrator.store.commits.transaction import Unit
from orchestrator.store.errors import StoreUnavailableError
from tests.simulation.world import Life, World

T = TypeVar("T")

UNIT_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class _Waiting:
    job: Job
    future: asyncio.Future[Outcome]


class ReplicaDatabase(Database):
    """A replica's connection to the one database; transactions run at once, on the loop."""

    def __init__(self, world: World, life: Life) -> None:
        self._world = world
        self._life = life
        self._shared = world.database
        self._waiting: list[_Waiting] = []
        self.news = self._shared.news

    async def write(self, unit: Unit[T], *, key: str | None = None) -> T:
        world, profile = self._world, self._world.profile
        name = name_of(unit)
        await self._life.moment(f"store {name}")
        if not world.store_up or world.happens(profile.store_refusal):
            await asyncio.sleep(0.01)
            raise StoreUnavailableError(f"{name} was refused")
        if world.happens(profile.store_late):
            seconds = UNIT_SECONDS + world.chance.uniform(-5.0, 10.0)
            world.say(f"{self._life.name}: {name} is held up for {seconds:.1f} s")
            world.loop.call_later(seconds, self._commit, [_Waiting(Job(unit, key), world.loop.create_future())])
            await asyncio.sleep(UNIT_SECONDS)
            raise StoreUnavailableError(f"{name} did not end in time")
        outcome = await self._submit(Job(unit, key))
        await self._life.moment(f"store did {name}")
        if outcome.error is not None:
            raise outcome.error
        if world.happens(profile.store_lost_answer):
            world.say(f"{self._life.name}: the answer to {name} is lost")
            raise StoreUnavailableError(f"the answer to {name} was lost")
        value: T = outcome.value
        return value

    def _submit(self, job: Job) -> asyncio.Future[Outcome]:
        future: asyncio.Future[Outcome] = self._world.loop.create_future()
        self._waiting.append(_Waiting(job, future))
        if len(self._waiting) == 1:
            self._world.loop.call_later(self._world.latency(), self._flush)
        return future

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        if not self._life.alive:
            return  # what it had not sent is gone with it
        wanted = [item for item in waiting if not item.future.cancelled()]
        together = [item for item in wanted if item.job.key is not None]
        if together:
            self._commit(together)
        for item in wanted:
            if item.job.key is None:
                self._commit([item])

    def _commit(self, waiting: list[_Waiting]) -> None:
        checks = self._world.checks
        held = checks.held()
        outcomes = self._shared._commit_together([item.job for item in waiting])
        for item, outcome in zip(waiting, outcomes, strict=True):
            self.news.publish(outcome.work, outcome.position)
            if outcome.error is None:
                checks.done(self._life, name_of(item.job.unit), item.job.unit, held)
            if not item.future.done():
                item.future.set_result(outcome)
        checks.committed(self._life)

    async def read(self, unit: Callable[[sa.Connection], T]) -> T:
        world = self._world
        await self._life.moment(f"store {name_of(unit)}")
        if not world.store_up or world.happens(world.profile.store_refusal):
            raise StoreUnavailableError(f"{name_of(unit)} was refused")
        await asyncio.sleep(world.latency())
        return await self._shared.read(unit)


def name_of(unit: Any) -> str:
    """Return a unit of work's name."""
    return str(getattr(getattr(unit, "func", unit), "__name__", type(unit).__name__))
