"""Who is asked to join and to leave where groups share nodes: each group is one node's, the others come and go."""

import asyncio
from collections.abc import Sequence

from tests.simulation.messages import MessageQueue
from tests.simulation.world import World

JOINING_BLOCKS = 9
"""An addition and its proof take about so long."""


class Visitors:
    """Asks for members to join, and to leave and come back after they joined another group meanwhile.

    Args:
        world: The simulation.
        queue: Where requests are published.
        groups: The groups; the first node has founded the first of them, and so on.
        keys: The nodes' enclave keys.
    """

    def __init__(self, world: World, queue: MessageQueue, groups: Sequence[str], keys: Sequence[str]) -> None:
        self._world = world
        self._queue = queue
        self._groups = groups
        self._keys = keys
        self._asked = 0

    async def ask(self) -> None:
        """Ask for all changes of one simulation."""
        world = self._world
        while self._asked < world.profile.requests:
            group = world.chance.choice(self._groups)
            members = self._members(group)
            founder = self._keys[self._groups.index(group)]
            inside = [key for key in members if key != founder]
            outside = [key for key in self._keys if key not in members]
            if inside and world.chance.random() < 0.5:
                await self._leave_and_return(group, world.chance.choice(inside))
            elif outside:
                await self._join(group, world.chance.choice(outside))
            await self._pause(1, JOINING_BLOCKS)

    def _members(self, group: str) -> tuple[str, ...]:
        last = self._world.checks.ledger.truth.last(group)
        return last.state.contract.participants if last is not None else ()

    async def _leave_and_return(self, group: str, key: str) -> None:
        """Have a member removed, added to another group, and added again: its node replayed over where it had left."""
        chance = self._world.chance
        self._publish("remove_members", group, key)
        others = [other for other in self._groups if other != group and key not in self._members(other)]
        if others:
            await self._pause(2, 5)
            await self._join(chance.choice(others), key)
            await self._pause(JOINING_BLOCKS - 3, JOINING_BLOCKS + 3)
        self._publish("add_members", group, key)

    async def _join(self, group: str, key: str) -> None:
        self._publish("add_members", group, key)
        if self._world.profile.losses and self._world.chance.random() < 0.7:
            # They wait behind the addition: when that gets lost and parks, they come before its repair.
            self._publish("remove_members", group, key)
            if self._world.chance.random() < 0.5:
                self._publish("add_members", group, key)
            await self._pause(2 * JOINING_BLOCKS, 3 * JOINING_BLOCKS)

    def _publish(self, kind: str, group: str, key: str) -> None:
        data = {"kind": kind, "privacy_group_id": group, "members": [key]}
        self._world.say(f"asked: ask-{self._asked} {data}")
        self._queue.publish(f"ask-{self._asked}", data, expected=True)
        self._asked += 1

    async def _pause(self, fewest: float, most: float) -> None:
        await asyncio.sleep(self._world.chance.uniform(fewest, most) * self._world.profile.block_seconds)
