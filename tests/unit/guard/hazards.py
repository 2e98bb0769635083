"""What an attacker, or bad luck, does to a node: each returns the marker's input of an addition of the victim."""

from collections.abc import Callable
from dataclasses import replace

from eth_hash.auto import keccak

from orchestrator.besu.codec.bundles import BundledTransaction, BundleItem
from orchestrator.besu.codec.management_contract import Method, encode_call, encode_remove_participant
from orchestrator.besu.codec.private_transaction import decode_private_transaction, sign_private_transaction
from orchestrator.devnet.enclaves.enclave import HistoryPayload
from tests.fakes.guarded_network import APPLICATION, OTHER_KEY, OWNER_KEY, GuardedNetwork

LOCK = encode_call(Method.LOCK)


async def poisoned(network: GuardedNetwork, victim: int, group: str) -> bytes:
    """A group with a block that can't be replayed."""
    await network.create(group, 1, 2)
    payload = await network.distribute(b"\x01", group, to=APPLICATION)
    await network.block(network.marker(payload), *network.pair_of_one_account())
    await network.lock(group)
    await network.block()
    return await network.distribute(network.addition(victim), group)


async def poisoned_lock(network: GuardedNetwork, victim: int, group: str) -> bytes:
    """The pair of one account's transactions in the lock's own block."""
    await network.create(group, 1, 2)
    payload = await network.distribute(LOCK, group)
    await network.block(network.marker(payload), *network.pair_of_one_account())
    await network.block()
    return await network.distribute(network.addition(victim), group)


async def torn(network: GuardedNetwork, victim: int, group: str, *, lost: str = OWNER_KEY) -> bytes:
    """The bundle of a node that replayed another group over a transaction of this one.

    Node 2 sends; it joined a group whose lock was in a block of this one, which went on in the next.
    """
    other = network.group(group + " other")
    await network.create(group, 1, 2)
    await network.create(other, 1, 4)
    written = await network.distribute(b"\x01", group, to=APPLICATION, key=lost)
    await network.block(*map(network.marker, [await network.distribute(LOCK, other), written]))
    await network.write(group)
    addition = await network.distribute(network.addition(2), other)
    await network.block(network.marker(addition))
    await network.lock(group)
    await network.block()
    return await network.distribute(network.addition(victim), group, 2)


async def torn_unseen(network: GuardedNetwork, victim: int, group: str) -> bytes:
    """The same, and no private nonce is missing: what the bundle lacks is all that an account ever sent."""
    return await torn(network, victim, group, lost=OTHER_KEY)


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


async def left_out(network: GuardedNetwork, victim: int, group: str) -> bytes:
    """A history that lacks the only transaction of an account: no private nonce is missing in it."""
    payload = await _written_by_another(network, victim, group)
    return payload[:32] + without(network, payload, 1, victim)


async def false_roots(network: GuardedNetwork, victim: int, group: str) -> bytes:
    """A history whose roots no replay reaches."""
    payload = await _written_by_another(network, victim, group)

    def false(number: int, record: BundleItem) -> BundleItem:
        return BundledTransaction(record.pmt_hash, record.signed, keccak(b"no root %d" % number))

    return payload[:32] + rewritten(network, payload, victim, false)


async def altered(network: GuardedNetwork, victim: int, group: str) -> bytes:
    """A history with the group's own roots, and another transaction than the one that led to them."""
    payload = await _written_by_another(network, victim, group)

    def other(number: int, record: BundleItem) -> BundleItem:
        if number != 1:
            return record
        forged = replace(record.signed.transaction, data=b"\x02")
        signed = decode_private_transaction(sign_private_transaction(forged, keccak(b"nobody's account")))
        return BundledTransaction(record.pmt_hash, signed, record.root)

    return payload[:32] + rewritten(network, payload, victim, other)


async def _written_by_another(network: GuardedNetwork, victim: int, group: str) -> bytes:
    await network.create(group, 1, 2)
    await network.write(group, 2, key=OTHER_KEY)
    await network.lock(group)
    await network.block()
    return await network.distribute(network.addition(victim), group)


def rewritten(
    network: GuardedNetwork, payload: bytes, victim: int, rewrite: Callable[[int, BundleItem], BundleItem]
) -> bytes:
    """Hand the sender's enclave a history of an addition that is made by hand; returns its key."""
    enclaves, sender = network.network.enclaves, network.network.nodes[0]
    whole = enclaves.receive(sender.enclave, payload[32:])
    assert isinstance(whole, HistoryPayload)
    made = HistoryPayload(tuple(rewrite(number, record) for number, record in enumerate(whole.records)))
    return enclaves.send(sender.enclave, sender.key, [network.keys[victim - 1]], made)[0]
