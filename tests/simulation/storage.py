"""The store as one replica reaches it: the real SQL on one database in memory, behind a way that loses things."""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

import sqlalchemy as sa

from orchestrator.store.database import Database
from orchestrator.store.errors import StoreUnavailableError
from orchestrator.store.transaction import Unit
from tests.simulation.world import Life, World

T = TypeVar("T")

UNIT_SECONDS = 30.0


class ReplicaDatabase(Database):
    """A replica's connection to the one database; units of work run at once, on the loop."""

    def __init__(self, world: World, life: Life) -> None:
        self._world = world
        self._life = life
        self._shared = world.database
        self.news = self._shared.news

    async def write(self, unit: Unit[T], *, key: str | None = None) -> T:
        world, weather = self._world, self._world.weather
        name = _name(unit)
        await self._life.moment(f"store {name}")
        if not world.store_up or world.happens(weather.store_refusal):
            await asyncio.sleep(0.01)
            raise StoreUnavailableError(f"{name} was refused")
        if world.happens(weather.store_late):
            world.spawn(self._late(unit, key, UNIT_SECONDS + world.chance.uniform(-5.0, 10.0)))
            await asyncio.sleep(UNIT_SECONDS)
            raise StoreUnavailableError(f"{name} did not end in time")
        await asyncio.sleep(world.latency())
        self._life.check()
        value = await self._commit(unit, key)
        await self._life.moment(f"store did {name}")
        if world.happens(weather.store_lost_answer):
            world.say(f"the answer to {name} is lost")
            raise StoreUnavailableError(f"the answer to {name} was lost")
        return value

    async def _late(self, unit: Unit[T], key: str | None, seconds: float) -> None:
        await asyncio.sleep(seconds)
        try:
            await self._commit(unit, key)
        except Exception as error:  # noqa: BLE001 - nobody waits for it any more
            self._world.say(f"late {_name(unit)}: {error}")

    async def _commit(self, unit: Unit[T], key: str | None) -> T:
        value = await self._shared.write(unit, key=key)
        self._world.checks.committed(self._life, _name(unit), unit)
        return value

    async def read(self, unit: Callable[[sa.Connection], T]) -> T:
        world = self._world
        await self._life.moment(f"store {_name(unit)}")
        if not world.store_up or world.happens(world.weather.store_refusal):
            raise StoreUnavailableError(f"{_name(unit)} was refused")
        await asyncio.sleep(world.latency())
        return await self._shared.read(unit)


def _name(unit: Any) -> str:
    return str(getattr(getattr(unit, "func", unit), "__name__", "unit"))
