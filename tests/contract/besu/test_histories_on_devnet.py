"""What the forecast of an addition reads, from emulated nodes of each version over real sockets."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import pytest

from orchestrator.besu import FlexiblePrivacyGroups, HttpNode, Node, open_session, signer_from_key
from orchestrator.besu.adapter.port import BesuNode
from orchestrator.besu.client.histories import (
    BLOCKS_AT_ONCE,
    read_balances,
    read_blocks,
    read_memberships,
    read_public_roots,
)
from orchestrator.besu.errors import NotKnownError
from orchestrator.devnet import DevnetConfig, running_devnet
from orchestrator.engine.history.forecaster import Forecaster, Question
from orchestrator.engine.nodes.fleet import Fleet
from orchestrator.engine.nodes.watcher import ChainWatcher
from orchestrator.membership.forecast.senders import Bundle
from orchestrator.membership.forecast.verdict import Outlook
from orchestrator.store import Database, SqlHistoryStore
from tests.fakes.clock import FastClock
from tests.fakes.mapped_nodes import replayed_by

VERSIONS = ["21.1.7", "22.4.4", "23.10.3", "25.4.1"]
# A well-known development key: everybody has it.
OWNER = signer_from_key("8f2a55949038a9610f50fb23b5883af3b4ecb3c3bb792cbcefbd1542c692be63")


@dataclass
class Net:
    """Three emulated nodes, the first two of which are members of a group."""

    nodes: list[Node]
    keys: list[str]
    groups: FlexiblePrivacyGroups
    group: str
    created_in: int

    async def forecaster(self, database: Database) -> Forecaster:
        members = [BesuNode(node.name, [key], node, None) for node, key in zip(self.nodes, self.keys, strict=True)]
        watchers = [ChainWatcher(member, FastClock()) for member in members]
        for watcher in watchers:
            await watcher.refresh()
        return Forecaster(Fleet(watchers), SqlHistoryStore(database))


@asynccontextmanager
async def a_group(version: str) -> AsyncIterator[Net]:
    config = DevnetConfig(besu_version=version, base_port=0, block_period_seconds=0.1, replay_ms_per_transaction=0)
    async with AsyncExitStack() as stack:
        devnet = await stack.enter_async_context(running_devnet(config))
        session = await stack.enter_async_context(open_session())
        nodes = [Node(HttpNode(session, node.http_url), name=f"member{node.number}") for node in devnet.nodes]
        keys = [node.enclave_key for node in devnet.nodes]
        groups = FlexiblePrivacyGroups(nodes[0], OWNER, keys[0], mined_timeout_seconds=10, poll_seconds=0.02)
        created = await groups.create(keys[:2])
        yield Net(nodes, keys, groups, created.privacy_group_id, created.receipt.block_number)


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_fresh_member_is_forecast_and_remembered(version: str) -> None:
    """Before its addition all is safe; after it the logs tell what its node replayed, and it is second to send."""
    async with a_group(version) as net, Database("sqlite://") as database:
        question = Question(privacy_group_id=net.group, to_add=(net.keys[2],), participants=tuple(net.keys[:2]))
        found = await (await net.forecaster(database)).forecast(question)
        assert (found.outlook, replayed_by(found)) == (Outlook.SAFE, ((net.keys[2], 1),))

        added = await net.groups.add(net.group, [net.keys[2]])
        assert added is not None
        logs = await read_memberships(net.nodes[0], [net.group], 0, added.block_number)
        assert [(log.block_number, log.member, log.added) for log in logs] == [
            (net.created_in, net.keys[0], True),
            (net.created_in, net.keys[1], True),
            (added.block_number, net.keys[2], True),
        ]
        while await net.nodes[2].head_number() < added.block_number:
            pass
        only_joined = Question(
            privacy_group_id=net.group,
            to_add=("a key elsewhere",),
            participants=tuple(net.keys),
            senders=(net.keys[2],),
        )
        again = await (await net.forecaster(database)).forecast(only_joined)
        assert again.dangers == ()
        assert again.outlook is Outlook.UNKNOWN
        assert again.sender is not None
        assert again.sender.bundle is Bundle.WHOLE


async def test_blocks_are_read_with_what_accounts_sent() -> None:
    """Accounts, nonces and gas of the markers come with their blocks, however many are asked for."""
    async with a_group("23.10.3") as net:
        node = net.nodes[0]
        while await node.head_number() < net.created_in + 2:
            pass
        numbers = [net.created_in] * (BLOCKS_AT_ONCE + 1)
        blocks = await read_blocks(node, numbers)
        assert [block.number for block in blocks] == numbers
        content = blocks[0].content
        assert content is not None
        (marker,) = content.transactions
        assert (marker.marker, marker.data_bytes, marker.value) == (True, 32, 0)
        assert marker.gas_limit > 21_000
        assert content.gas_limit >= marker.gas_limit
        assert await read_balances(node, [marker.sender], net.created_in) == {marker.sender: 0}

        around = [*range(net.created_in + 1), *[net.created_in] * BLOCKS_AT_ONCE]
        roots = await read_public_roots(node, around)
        assert roots[net.created_in] == roots[-1]
        assert roots[net.created_in][0] == content.block_hash
        moved = [n for n in around[1 : net.created_in + 1] if roots[n][1] != roots[n - 1][1]]
        with_transactions = [
            b.number for b in await read_blocks(node, around[1 : net.created_in + 1]) if b.transactions
        ]
        assert moved == with_transactions


async def test_a_block_that_a_node_does_not_have_is_not_an_empty_one() -> None:
    """Beyond the head nothing is answered, which is not known, and no block without transactions."""
    async with a_group("23.10.3") as net:
        with pytest.raises(NotKnownError, match="no block 1000000"):
            await read_blocks(net.nodes[0], [1_000_000])
        with pytest.raises(NotKnownError, match="no block 1000000"):
            await read_public_roots(net.nodes[0], [0, 1_000_000])
