"""Private transactions that somebody names as histories, and those that a node must not miss."""

import base64
from datetime import timedelta
from pathlib import Path

import aiohttp

from orchestrator.membership.damage.misread_payloads import OFTEN
from tests.fakes.guarded_network import APPLICATION, GuardedNetwork, guarded_network, until
from tests.unit.guard.running_guard import guard

VICTIM = 3
AT_ONCE = timedelta(0)
NEVER = timedelta(days=1)


async def written(network: GuardedNetwork, group: str) -> bytes:
    """Write into a group; returns the key of that transaction."""
    key = await network.distribute(b"\x01", group, to=APPLICATION)
    await network.block(network.marker(key))
    return key


async def passed(network: GuardedNetwork, node: int = VICTIM) -> None:
    """Come back when a node that stood has the newest block."""
    seen = network.network.nodes[node - 1]
    await until(lambda: network.advanced() and seen.head is network.network.chain.head)


async def test_an_executed_transaction_that_is_named_as_a_history_stops_nobody_behind_a_guard(tmp_path: Path) -> None:
    """Every member's node without a guard stands; the guarded one is past the block, its groups as they were.

    Who asks for the transaction by its own key still gets it, and the same is decided after a restart of the guard.
    """
    async with guarded_network() as network, aiohttp.ClientSession() as session:
        group = network.group("G")
        await network.create(group, 1, VICTIM)
        key = await written(network, group)
        await network.block()
        file = tmp_path / "decisions"
        async with guard(network, VICTIM, file=file, settled_after=AT_ONCE, witnesses=(2,)) as standing:
            await network.block(network.marker(b"\x05" * 32 + key))
            assert network.misreads(1)
            await passed(network)
            assert standing.reasons == ["no_history"]
            asked = {"key": base64.b64encode(key).decode(), "to": network.keys[VICTIM - 1]}
            async with session.post(f"{standing.url}/receive", json=asked) as answer:
                assert answer.status == 200
            assert network.root(VICTIM, group) == network.root(1, group)
        # With the earlier decision the blocks since are all that a new guard has to look at.
        async with guard(network, VICTIM, file=file, settled_after=NEVER, witnesses=(2,)) as standing:
            await network.block(network.marker(b"\x06" * 32 + key))
            await passed(network)
            assert standing.reasons == ["no_history"]
        async with guard(network, 1, settled_after=AT_ONCE, witnesses=(2,)):
            await passed(network, 1)
        assert await network.write(group, 1)
        assert network.root(VICTIM, group) == network.root(1, group)


async def test_a_transaction_that_is_still_to_be_executed_is_never_missed() -> None:
    """Named before it is mined, it is not found for that block alone; named in its own block, it is given."""
    async with guarded_network() as network:
        group = network.group("G")
        await network.create(group, 1, VICTIM)
        await network.block()
        first = await network.distribute(b"\x01", group, to=APPLICATION)
        async with (
            guard(network, VICTIM, settled_after=AT_ONCE, witnesses=(2,)) as standing,
            guard(network, 1, settled_after=AT_ONCE, witnesses=(2,)),
        ):
            await network.block(network.marker(b"\x05" * 32 + first))
            await passed(network)
            await passed(network, 1)
            assert standing.reasons == ["no_history"]
            before = network.root(VICTIM, group)
            await network.block(network.marker(first))
            assert network.root(VICTIM, group) == network.root(1, group) != before
            second = await network.distribute(b"\x02", group, to=APPLICATION)
            await network.block(network.marker(b"\x05" * 32 + second), network.marker(second))
            counts = standing.proxy.counts
            refused, requests = counts.refused, counts.requests
            await until(lambda: network.advanced() and counts.requests > requests + 4 * OFTEN)
            assert network.misreads(VICTIM), "it stands as without a guard, and has lost nothing"
            assert counts.refused == refused


async def test_a_repeated_marker_alone_is_no_reason_to_miss_it() -> None:
    """A copy of an ordinary marker is executed, and refused by the nonce, as without a guard."""
    async with guarded_network() as network:
        group = network.group("G")
        await network.create(group, 1, VICTIM)
        async with guard(network, VICTIM, settled_after=AT_ONCE, witnesses=(2,)) as standing:
            key = await written(network, group)
            await network.block()
            await network.block()
            await until(lambda: standing.heads.newest == network.network.chain.head.number)
            copy = network.marker(key)
            await network.block(copy)
            receipt = await network.call(VICTIM, "priv_getTransactionReceipt", "0x" + copy.hash.hex())
            assert receipt["status"] != "0x1"
            assert standing.proxy.counts.refused == 0
