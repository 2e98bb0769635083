"""The client library against emulated nodes of each version, over real sockets."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from random import Random
from typing import Any

import pytest

from orchestrator.besu import (
    Abi,
    FlexiblePrivacyGroups,
    Forecast,
    Gap,
    GroupChangeError,
    Head,
    HttpNode,
    Log,
    MemberOutcome,
    Node,
    NodeSocket,
    Rejection,
    open_session,
    sign_private_transaction,
    signer_from_key,
    wait_mined,
)
from orchestrator.besu.client.node import MANAGEMENT_ADDRESSES
from orchestrator.besu.codec.management_contract import (
    MANAGEMENT_PROXY,
    Method,
    encode_add_participants,
    encode_call,
    encode_remove_participant,
)
from orchestrator.besu.codec.private_transaction import PrivateTransaction
from orchestrator.besu.errors import EnclaveKeyUnknownError, EnclaveUnreachableError, NotKnownError
from orchestrator.besu.transaction_errors import NonceTooLowError
from orchestrator.devnet import Devnet, DevnetConfig, running_devnet

VERSIONS = ["21.1.7", "22.4.4", "23.10.3", "25.4.1"]
# Well-known development keys: everybody has them.
OWNER_KEY = "8f2a55949038a9610f50fb23b5883af3b4ecb3c3bb792cbcefbd1542c692be63"
OWNER = signer_from_key(OWNER_KEY)
OTHER = signer_from_key("c87509a1c067bbde78beb793e6fa76530b6382a4c0241e5e4a9ec0a0f44dc0d3")
QUIET_LOOKS = 40
NOBODY = "d0bf" * 10 + "AAA="


@dataclass
class Net:
    """A devnet and what the library makes of it."""

    devnet: Devnet
    nodes: list[Node]
    sockets: list[NodeSocket]
    keys: list[str]

    def groups(self, index: int = 0, *, signer: Any = OWNER, socket: bool = True) -> FlexiblePrivacyGroups:
        """The client of one member."""
        return FlexiblePrivacyGroups(
            self.nodes[index],
            signer,
            self.keys[index],
            socket=self.sockets[index] if socket else None,
            mined_timeout_seconds=60,
            poll_seconds=0.02,
        )


@asynccontextmanager
async def network(version: str, *, block_period_seconds: float = 0.1, **options: Any) -> AsyncIterator[Net]:
    config = DevnetConfig(
        besu_version=version,
        base_port=0,
        block_period_seconds=block_period_seconds,
        replay_ms_per_transaction=0,
        enclave_timeout_ms=20,
        **options,
    )
    async with AsyncExitStack() as stack:
        devnet = await stack.enter_async_context(running_devnet(config))
        session = await stack.enter_async_context(open_session())
        nodes = [Node(HttpNode(session, node.http_url), name=f"member{node.number}") for node in devnet.nodes]
        sockets = [
            await stack.enter_async_context(NodeSocket(node.ws_url, random=Random(1)))  # noqa: S311 - spreads retries
            for node in devnet.nodes
        ]
        yield Net(devnet, nodes, sockets, [node.enclave_key for node in devnet.nodes])


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_group_lives_from_creation_to_removal(version: str) -> None:
    """Create, find, add, read on the new member's node, and remove do what they say on every version."""
    async with network(version) as net:
        groups = net.groups()
        created = await groups.create(net.keys[:2])
        group = created.privacy_group_id
        assert created.receipt.members == ((net.keys[0], MemberOutcome.ADDED), (net.keys[1], MemberOutcome.ADDED))
        assert await groups.participants(group) == tuple(net.keys[:2])
        assert [found.privacy_group_id for found in await groups.find(net.keys[:2])] == [group]

        added = await groups.add(group, [net.keys[2]])
        assert added is not None
        assert added.members == ((net.keys[2], MemberOutcome.ADDED),)
        assert (added.view.locked, added.view.participants) == (False, tuple(net.keys))
        assert await groups.add(group, [net.keys[2]]) is None
        views = [await until_view(node, group, added.block_number) for node in net.nodes]
        assert len({view.state_root for view in views}) == 1
        assert [found.privacy_group_id for found in await net.groups(2).find(net.keys)] == [group]

        removed = await groups.remove(group, net.keys[2])
        assert removed.members == ((net.keys[2], MemberOutcome.REMOVED),)
        assert await groups.participants(group) == tuple(net.keys[:2])
        nothing = await groups.remove(group, net.keys[2])
        assert nothing.members == ((net.keys[2], MemberOutcome.NOT_MEMBER),)


async def test_a_check_that_fails_between_lock_and_addition_leaves_the_group_unlocked() -> None:
    """What is raised under the lock is raised, the new member gets nothing, and the group is as it was."""
    async with network("23.10.3") as net:
        groups = net.groups()
        group = (await groups.create(net.keys[:2])).privacy_group_id
        seen: list[bool | None] = []

        async def check(lock_block: int) -> None:
            seen.append(await net.nodes[0].group_lock(group, lock_block))
            raise GroupChangeError("not now")

        with pytest.raises(GroupChangeError, match="not now"):
            await groups.add(group, [net.keys[2]], check=check)
        view = await net.nodes[0].group_view(group)
        assert (seen, view.locked, view.participants) == ([True], False, tuple(net.keys[:2]))
        assert not (await net.nodes[2].group_view(group)).exists


async def until_view(node: Node, group: str, block_number: int) -> Any:
    async with asyncio.timeout(60):
        while True:
            with suppress(NotKnownError):
                return await node.group_view(group, block_number)
            await asyncio.sleep(0.02)


async def until_locked(node: Node, group: str) -> None:
    async with asyncio.timeout(60):
        while not (await node.group_view(group)).locked:  # noqa: ASYNC110 - a node's state
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_lock_is_taken_and_given_back(version: str) -> None:
    """Lock and unlock work on every version, where unlock() does not by an empty add."""
    async with network(version) as net:
        groups = net.groups(socket=False)
        group = (await groups.create(net.keys[:2])).privacy_group_id
        locked = await groups.lock(group)
        assert locked.view.locked
        with pytest.raises(GroupChangeError, match="locked") as refusal:
            await groups.add(group, [net.keys[2]])
        assert refusal.value.rejection is None
        with pytest.raises(GroupChangeError) as refusal:
            await groups.lock(group)
        assert refusal.value.rejection in {Rejection.REQUIRE_FAILED, Rejection.REFUSED_TO_EXECUTE}
        unlocked = await groups.unlock(group)
        assert (unlocked.view.locked, unlocked.view.participants) == (False, tuple(net.keys[:2]))


@asynccontextmanager
async def made_when_wanted(net: Net) -> AsyncIterator[None]:
    """Make a block when a marker waits for one, or after many looks without one, between which everybody has a turn.

    By the clock a busy machine would make blocks before anybody had seen the last one.
    """

    async def make() -> None:
        quiet = 0
        while True:
            await asyncio.sleep(0.005)
            quiet += 1
            if net.devnet.emulation.network.pool.pending() or quiet >= QUIET_LOOKS:
                await net.devnet.call(1, "devnet_mine", ["0x1"])
                quiet = 0

    making = asyncio.create_task(make())
    try:
        yield
    finally:
        making.cancel()
        await asyncio.wait({making})


async def until_sent(net: Net) -> None:
    """Wait until a marker waits for a block."""
    async with asyncio.timeout(60):
        while not net.devnet.emulation.network.pool.pending():  # noqa: ASYNC110 - the pool tells nobody
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("version", VERSIONS)
async def test_an_add_keeps_two_blocks_from_its_lock(version: str) -> None:
    """The add is mined two blocks after the lock: in the block between nothing of the group is executed."""
    async with network(version, block_period_seconds=0) as net, made_when_wanted(net):
        groups = net.groups()
        group = (await groups.create(net.keys[:2])).privacy_group_id
        added = await groups.add(group, [net.keys[2]])
        assert added is not None
        views = [await net.nodes[0].group_view(group, added.block_number - blocks) for blocks in (3, 2, 1)]
        assert [view.locked for view in views] == [False, True, True]


@pytest.mark.parametrize("version", ["22.4.4", "23.10.3"])
async def test_a_failed_add_leaves_the_group_unlocked(version: str) -> None:
    """When the new member's enclave cannot be reached, or nobody hosts its key, the group is unlocked again."""
    async with network(version) as net:
        groups = net.groups()
        group = (await groups.create(net.keys[:2])).privacy_group_id
        with pytest.raises(EnclaveKeyUnknownError):
            await groups.add(group, [NOBODY])
        await net.devnet.call(1, "devnet_setEnclave", [3, False])
        with pytest.raises(EnclaveUnreachableError):
            await groups.add(group, [net.keys[2]])
        view = await net.nodes[0].group_view(group)
        assert view is not None
        assert (view.locked, view.participants) == (False, tuple(net.keys[:2]))


@pytest.mark.parametrize("version", VERSIONS)
async def test_only_the_owner_may_change_a_group(version: str) -> None:
    """Another account is told so before anything is sent; simulations know the owner on every version."""
    async with network(version) as net:
        group = (await net.groups().create(net.keys[:2])).privacy_group_id
        node = net.nodes[1]
        await until_view(node, group, await net.nodes[0].head_number())
        assert await node.is_owner(group, OWNER.address) is True
        assert await node.is_owner(group, OTHER.address) is False
        assert await net.nodes[2].is_owner(group, OWNER.address) is None
        with pytest.raises(GroupChangeError, match="does not own") as refusal:
            await net.groups(1, signer=OTHER).lock(group)
        assert refusal.value.rejection is Rejection.NOT_OWNER


@pytest.mark.parametrize("version", VERSIONS)
async def test_what_cannot_be_done_is_said_before_it_is_sent(version: str) -> None:
    """Unknown groups, taken ids and a creation without oneself are refused with what to do."""
    async with network(version) as net:
        groups = net.groups()
        created = await groups.create(net.keys[:2])
        with pytest.raises(GroupChangeError, match="knows no group"):
            await net.groups(2).participants(created.privacy_group_id)
        with pytest.raises(GroupChangeError, match="already"):
            await groups.create(net.keys[:2], privacy_group_id=created.privacy_group_id)
        with pytest.raises(GroupChangeError, match="among the members"):
            await groups.create(net.keys[1:])


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_node_is_read_as_it_is(version: str) -> None:
    """The facts of a node come back typed."""
    async with network(version) as net:
        node = net.nodes[0]
        head = await node.head()
        assert (await node.client_version()).version == tuple(map(int, version.split(".")))
        assert await node.chain_id() == 1337
        assert await node.syncing() is None
        assert await node.peer_count() == 2
        assert {"eth", "eea", "priv"} <= await node.api_groups()
        assert await node.header(head.number) == head
        for beyond in (node.header(head.number + 1_000_000), node.block(head.number + 1_000_000)):
            with pytest.raises(NotKnownError):
                await beyond
        assert await node.own_address() in await node.validators()
        assert await node.find_groups([net.keys[0]]) == ()
        assert await node.group_abi("DyAOiF/ynpc+JXa2YAGB0bCitSlOMNm+ShmB/7M6C4w=") is None
        missing = await node.group_view("DyAOiF/ynpc+JXa2YAGB0bCitSlOMNm+ShmB/7M6C4w=")
        assert not missing.exists
        with pytest.raises(NotKnownError):
            await node.group_view("DyAOiF/ynpc+JXa2YAGB0bCitSlOMNm+ShmB/7M6C4w=", 1_000_000)


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_groups_history_is_read(version: str) -> None:
    """Dialect, roots, logs, replayed blocks and simulations of a group come back typed."""
    async with network(version) as net:
        node = net.nodes[0]
        created = await net.groups().create(net.keys[:2])
        group, block = created.privacy_group_id, created.receipt.block_number
        abi = await node.group_abi(group)
        assert abi is (Abi.BYTES32 if version in {"21.1.7", "22.4.4"} else Abi.BYTES)
        assert await node.state_roots(group, [block - 1, block]) == (None, created.receipt.view.state_root)
        assert await node.replayed_at(group, [block - 1, block]) == (False, True)
        logs = await node.private_logs(group, block, block)
        assert {log.address for log in logs} <= set(MANAGEMENT_ADDRESSES)
        assert len(logs) == 2
        assert await node.private_nonce(OWNER.address, group) == 1
        views = await node.group_views([group, "DyAOiF/ynpc+JXa2YAGB0bCitSlOMNm+ShmB/7M6C4w="], block)
        assert [view.exists for view in views] == [True, False]

        async def forecast(data: bytes) -> Forecast:
            return (await node.simulate(group, OWNER.address, data)).forecast

        assert await forecast(encode_call(Method.LOCK)) is Forecast.EMPTY
        assert await forecast(encode_add_participants(abi, [net.keys[2]])) is Forecast.REVERTS
        assert await forecast(encode_remove_participant(abi, net.keys[1])) is Forecast.SUCCEEDS
        assert await forecast(encode_remove_participant(abi, net.keys[2])) is Forecast.NOTHING_CHANGES


@pytest.mark.parametrize("version", VERSIONS)
async def test_of_two_sends_of_the_same_bytes_one_executes(version: str) -> None:
    """Each send by the node has its own PMT; both are mined, and one of them executed."""
    async with network(version) as net:
        node = net.nodes[0]
        created = await net.groups().create(net.keys[:2])
        group = created.privacy_group_id
        raw = sign_private_transaction(
            PrivateTransaction(
                private_nonce=1,
                private_from=net.keys[0],
                to=MANAGEMENT_PROXY,
                data=encode_call(Method.LOCK),
                privacy_group_id=group,
                chain_id=1337,
            ),
            OWNER_KEY,
        )
        await net.devnet.call(1, "devnet_setBlockPeriod", [0])  # no block between the two
        sent = {await node.send_raw(raw), await node.send_raw(raw)}
        await net.devnet.call(1, "devnet_mine", [])
        for pmt_hash in sent:
            await wait_mined(node, pmt_hash, socket=None, timeout_seconds=5, poll_seconds=0.02)
        receipts = [private for _, private in await node.receipts(sorted(sent))]
        assert [receipt is not None and receipt.status == 1 for receipt in receipts].count(True) == 1
        with pytest.raises(NonceTooLowError):
            await node.send_raw(raw)


@pytest.mark.parametrize("version", VERSIONS)
async def test_heads_and_private_logs_are_pushed(version: str) -> None:
    """A subscriber hears of the block that holds a change, by its transactions, and of the change's logs."""
    async with network(version) as net:
        created = await net.groups().create(net.keys[:2])
        group = created.privacy_group_id
        heads = net.sockets[0].subscribe_heads()
        logs = net.sockets[0].subscribe_private_logs(group, MANAGEMENT_ADDRESSES)
        async with asyncio.timeout(60):
            assert isinstance(await anext(aiter(heads)), Gap)
            assert isinstance(await anext(aiter(logs)), Gap)
            removed = await net.groups().remove(group, net.keys[1])
            async for item in heads:
                if isinstance(item, Head) and removed.pmt_hash in (item.transaction_hashes or ()):
                    assert item.number == removed.block_number
                    break
            log = await anext(aiter(logs))
            assert isinstance(log, Log)
            assert (log.block_number, log.transaction_hash) == (removed.block_number, removed.pmt_hash)


async def test_waiting_goes_on_without_the_socket() -> None:
    """When the WebSocket is cut in the middle, and when there is none, changes still come to their end by polling."""
    async with network("23.10.3") as net:
        groups = net.groups()
        group = (await groups.create(net.keys[:2])).privacy_group_id
        await net.devnet.call(1, "devnet_setBlockPeriod", [0])
        async with asyncio.TaskGroup() as tasks:
            lock = tasks.create_task(groups.lock(group))
            await until_sent(net)
            connection = net.sockets[0]._connection
            assert connection is not None
            connection.transport.abort()
            await net.devnet.call(1, "devnet_mine", [])
        assert lock.result().view.locked


async def test_a_cancelled_add_leaves_the_group_unlocked() -> None:
    """A client that is stopped between lock and add, or while it waits for the add, takes its lock back."""
    async with network("23.10.3", block_period_seconds=0) as net:
        groups = net.groups()
        async with made_when_wanted(net):
            group = (await groups.create(net.keys[:2])).privacy_group_id
        adding = asyncio.create_task(groups.add(group, [net.keys[2]]))
        await until_sent(net)
        await net.devnet.call(1, "devnet_mine", [])
        await until_locked(net.nodes[0], group)
        adding.cancel()
        async with made_when_wanted(net):
            with pytest.raises(asyncio.CancelledError):
                await adding
        view = await net.nodes[0].group_view(group)
        assert view is not None
        assert not view.locked


async def test_a_lock_that_cannot_be_taken_back_is_told() -> None:
    """When unlocking fails as well the error says that the group may be locked."""
    async with network("23.10.3", block_period_seconds=0) as net:
        groups = FlexiblePrivacyGroups(net.nodes[0], OWNER, net.keys[0], mined_timeout_seconds=2, poll_seconds=0.02)
        async with made_when_wanted(net):
            group = (await groups.create(net.keys[:2])).privacy_group_id

        async def make_the_last_block() -> None:
            await until_sent(net)
            await net.devnet.call(1, "devnet_mine", ["0x1"])

        async with asyncio.TaskGroup() as tasks:
            making = tasks.create_task(make_the_last_block())
            with pytest.raises(GroupChangeError, match="no block followed the lock's") as failure:
                await groups.add(group, [net.keys[2]])
        assert making.done()
        assert "may still be locked" in "".join(failure.value.__notes__)
