"""Each hazard against a node with a guard, and against the same node without one."""

from tests.fakes.guarded_network import OTHER_KEY, GuardedNetwork, guarded_network
from tests.unit.guard.staging import guard

VICTIM = 3


async def poisoned(network: GuardedNetwork, group: str) -> bytes:
    """Make a group with a block that can't be replayed, and lock it; returns an addition of the victim."""
    await network.create(group, 1, 2)
    payload = await network.distribute(b"\x01", group, to="0x" + "11" * 20)
    await network.block(network.marker(payload), *network.pair())
    await network.lock(group)
    await network.block()
    return await network.distribute(network.addition(VICTIM), group)


async def test_a_poisoned_group_halts_a_node_without_a_guard_and_none_behind_one() -> None:
    """The node behind the guard imports the block, is a stranger to the group, and keeps its others."""
    async with guarded_network() as network:
        own, group = network.group("own"), network.group("poisoned")
        await network.create(own, 3, 1)
        payload = await poisoned(network, group)
        async with guard(network, VICTIM) as standing:
            await network.block(network.marker(payload))
            assert not network.halted(VICTIM)
            assert network.root(VICTIM, group) is None
            assert standing.reasons == ["block_not_replayable"]
            await network.write(own, 1)
            assert network.root(VICTIM, own) == network.root(1, own)
        other = network.group("poisoned, too")
        payload = await poisoned(network, other)
        await network.block(network.marker(payload))
        assert network.halted(VICTIM)


async def test_an_honest_addition_passes_and_a_copied_marker_does_not() -> None:
    """A node behind a guard gets the group; a stranger's copy of the marker throws neither it nor the sender back."""
    async with guarded_network() as network:
        group = network.group("G")
        await network.create(group, 1, 2)
        await network.write(group)
        async with guard(network, 1) as sender, guard(network, VICTIM) as newcomer:
            payload, _ = await network.add(group, VICTIM)
            assert network.root(VICTIM, group) == network.root(1, group) == network.root(2, group)
            assert newcomer.reasons == ["safe"] and sender.reasons == []
            await network.write(group, 2, key=OTHER_KEY)
            await network.block(network.marker(payload))
            await network.write(group, 2, key=OTHER_KEY)
            assert network.root(VICTIM, group) == network.root(1, group) == network.root(2, group)
            assert newcomer.reasons == ["held_beyond"] and sender.reasons == ["held_beyond"]
            # The node still reads what it was added with, to send an addition of its own.
            await network.add(group, 4, node=VICTIM)
            assert network.root(4, group) == network.root(2, group)


async def test_without_a_guard_a_copied_marker_splits_the_group() -> None:
    """Sender and newcomer fall back to the lock, and nobody else does."""
    async with guarded_network() as network:
        group = network.group("G")
        await network.create(group, 1, 2)
        payload, _ = await network.add(group, VICTIM)
        await network.write(group, 2, key=OTHER_KEY)
        await network.block(network.marker(payload))
        assert network.root(VICTIM, group) == network.root(1, group) != network.root(2, group)
