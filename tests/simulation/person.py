"""A person who cancels, parks and retries changes."""

import asyncio
from collections.abc import Sequence

from orchestrator.engine.lanes.records import record_of
from orchestrator.engine.ports.store import LeaseLostError, Record, StoreError
from orchestrator.membership import facts
from orchestrator.membership.errors import RefusedRequestError
from orchestrator.membership.machine import step
from orchestrator.membership.model import Change
from tests.simulation.replica import Replica
from tests.simulation.world import LifeClock, World


async def operate(world: World, replicas: Sequence[Replica]) -> None:
    """Ask something of some change through some replica, now and then, for ever."""
    while True:
        await asyncio.sleep(world.chance.expovariate(1 / 10.0))
        changes = [change_id for (change_id,) in world.checks.change_ids()]
        replica = world.chance.choice(replicas)
        if not changes or not replica.alive or replica.store is None:
            continue
        change_id = world.chance.choice(changes)
        fact = world.chance.choice(
            (facts.CancelRequested(), facts.ParkRequested(), facts.RetryRequested(), facts.RetryRequested())
        )
        world.say(f"operator: {type(fact).__name__} {change_id}")
        await _amend(world, replica, change_id, fact)


async def _amend(world: World, replica: Replica, change_id: str, fact: facts.Fact) -> None:
    store, life = replica.store, replica.life
    if store is None or life is None:
        return
    now = LifeClock(life).now()

    def amendment(change: Change) -> Record:
        return record_of([(change, step(change, fact, now))], fact, now)

    try:
        await store.amend(change_id, amendment)
    except (RefusedRequestError, LeaseLostError, StoreError, KeyError) as error:
        world.say(f"operator: {error}")
    except asyncio.CancelledError:
        if life.alive:
            raise
