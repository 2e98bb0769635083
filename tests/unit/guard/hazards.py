"""What an attacker, or bad luck, does to a node: each returns the marker's input of an addition of the victim."""

from orchestrator.besu.management_contract import Method, encode_call, encode_remove_participant
from orchestrator.devnet.enclave import HistoryPayload
from tests.fakes.guarded_network import APPLICATION, GuardedNetwork

LOCK = encode_call(Method.LOCK)


async def poisoned(network: GuardedNetwork, victim: int, group: str) -> bytes:
    """A group with a block that can't be replayed."""
    await network.create(group, 1, 2)
    payload = await network.distribute(b"\x01", group, to=APPLICATION)
    await network.block(network.marker(payload), *network.pair())
    await network.lock(group)
    await network.block()
    return await network.distribute(network.addition(victim), group)


async def poisoned_lock(network: GuardedNetwork, victim: int, group: str) -> bytes:
    """The pair of one account's transactions in the lock's own block."""
    await network.create(group, 1, 2)
    payload = await network.distribute(LOCK, group)
    await network.block(network.marker(payload), *network.pair())
    await network.block()
    return await network.distribute(network.addition(victim), group)


async def torn(network: GuardedNetwork, victim: int, group: str) -> bytes:
    """The bundle of a node that replayed another group over a transaction of this one.

    Node 2 sends; it joined a group whose lock was in a block of this one, which went on in the next.
    """
    other = network.group(group + " other")
    await network.create(group, 1, 2)
    await network.create(other, 1, 4)
    both = [await network.distribute(LOCK, other), await network.distribute(b"\x01", group, to=APPLICATION)]
    await network.block(*map(network.marker, both))
    await network.write(group)
    addition = await network.distribute(network.addition(2), other)
    await network.block(network.marker(addition))
    await network.lock(group)
    await network.block()
    return await network.distribute(network.addition(victim), group, 2)


async def diverged_member(network: GuardedNetwork, victim: int, group: str) -> bytes:
    """A former member whose own state of the group is another than the group's was."""
    await network.create(group, 1, victim)
    await network.write(group)
    await network.call(1, "devnet_diverge", victim, group)
    await network.remove(group, victim)
    await network.write(group)
    await network.lock(group)
    await network.block()
    return await network.distribute(network.addition(victim), group)


async def former_member(network: GuardedNetwork, victim: int, group: str) -> bytes:
    """A former member that replayed another group, since, over the block in which it was removed."""
    other = network.group(group + " other")
    await network.create(group, 1, victim)
    await network.create(other, 1, 2)
    removal = await network.distribute(encode_remove_participant(network.abi, network.keys[victim - 1]), group)
    both = [removal, await network.distribute(b"\x01", other, to=APPLICATION)]
    await network.block(*map(network.marker, both))
    await network.write(group)
    await network.add(other, victim)
    await network.lock(group)
    await network.block()
    return await network.distribute(network.addition(victim), group)


async def huge(network: GuardedNetwork, victim: int, group: str) -> bytes:
    """A group with a long history."""
    await network.create(group, 1, 2)
    for _ in range(12):
        await network.write(group)
    await network.lock(group)
    await network.block()
    return await network.distribute(network.addition(victim), group)


async def unlocked(network: GuardedNetwork, victim: int, group: str) -> bytes:
    """An addition to a group that is not locked: it fails, and the history is disclosed and replayed."""
    await network.create(group, 1, 2)
    await network.write(group)
    return await network.distribute(network.addition(victim), group)


async def next_block(network: GuardedNetwork, victim: int, group: str) -> bytes:
    """A lock in the block before the addition's, with a transaction of another group of the victim in it."""
    own = network.group(group + " own")
    await network.create(own, victim, 1)
    await network.create(group, 1, 2)
    both = [await network.distribute(LOCK, group), await network.distribute(b"\x01", own, to=APPLICATION)]
    await network.block(*map(network.marker, both))
    return await network.distribute(network.addition(victim), group)


async def forged(network: GuardedNetwork, victim: int, group: str) -> bytes:
    """A history that an enclave was handed by hand: it leaves a transaction out."""
    await network.create(group, 1, 2)
    await network.write(group)
    await network.write(group)
    await network.lock(group)
    await network.block()
    payload = await network.distribute(network.addition(victim), group)
    return payload[:32] + without(network, payload, 1, victim)


def without(network: GuardedNetwork, payload: bytes, left_out: int, victim: int) -> bytes:
    """Hand the sender's enclave the history of an addition without one of its transactions; returns its key."""
    enclaves, sender = network.network.enclaves, network.network.nodes[0]
    whole = enclaves.receive(sender.enclave, payload[32:])
    assert isinstance(whole, HistoryPayload)
    cut = HistoryPayload((*whole.records[:left_out], *whole.records[left_out + 1 :]))
    return enclaves.send(sender.enclave, sender.key, [network.keys[victim - 1]], cut)[0]
