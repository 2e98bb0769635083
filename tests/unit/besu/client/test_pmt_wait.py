import asyncio
from collections.abc import AsyncIterator
from random import Random
from typing import Any

import pytest
from aiohttp import ClientSession

from orchestrator.besu.client.node import Node
from orchestrator.besu.client.pmt_wait import NotMinedError, wait_mined
from orchestrator.besu.errors import UnauthorizedError
from orchestrator.besu.transport.http_client import HttpNode
from orchestrator.besu.transport.websocket_client import NodeSocket
from tests.fakes.scripted_rpc import AnsweredError, ScriptedNode, ScriptedSocket

HASH = "0x" + "11" * 32
RECEIPT = {"transactionHash": HASH, "blockNumber": "0x7", "blockHash": HASH, "from": "0x" + "22" * 20}


def head_json(*transactions: str) -> dict[str, Any]:
    return {"number": "0x7", "hash": HASH, "parentHash": HASH, "timestamp": "0x1", "transactions": list(transactions)}


@pytest.fixture
def node(scripted: ScriptedNode, session: ClientSession) -> Node:
    """A node whose answers are scripted."""
    return Node(HttpNode(session, scripted.url))


@pytest.fixture
async def socket(scripted_socket: ScriptedSocket) -> AsyncIterator[NodeSocket]:
    """The node's socket."""
    random = Random(1)  # noqa: S311 - spreads reconnections
    async with NodeSocket(scripted_socket.url, random=random, first_delay_seconds=0.01) as opened:
        yield opened


async def turns() -> None:
    """Let everybody have many turns, of which a busy machine takes none away as it would of a time."""
    for _ in range(100):
        await asyncio.sleep(0.0005)


async def test_a_head_that_holds_the_marker_ends_the_wait(
    scripted: ScriptedNode, node: Node, scripted_socket: ScriptedSocket, socket: NodeSocket
) -> None:
    """While heads arrive the node is asked only when a head holds the PMT, however short the polling time is."""
    scripted.answers["eth_getTransactionReceipt"] = None
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(wait_mined(node, HASH, socket=socket, timeout_seconds=60, poll_seconds=0.001))
        await socket.wait_connected(60)
        async with asyncio.timeout(60):
            while not scripted_socket.calls:  # noqa: ASYNC110 - the server's state
                await asyncio.sleep(0.005)
        await turns()
        asked = len(scripted.methods)
        for _ in range(20):
            await scripted_socket.notify("0x1", head_json())
        await turns()
        assert len(scripted.methods) == asked
        scripted.answers["eth_getTransactionReceipt"] = RECEIPT
        await scripted_socket.notify("0x1", head_json("0x" + "33" * 32, HASH))
    assert waiting.result().block_number == 7
    assert len(scripted.methods) == asked + 1


async def test_without_a_socket_the_node_is_polled(scripted: ScriptedNode, node: Node) -> None:
    """Polling sees the receipt; a node that does not answer in between is waited for."""
    answers = iter([None, None, RECEIPT])
    scripted.answers["eth_getTransactionReceipt"] = lambda _: next(answers)
    receipt = await wait_mined(node, HASH, socket=None, timeout_seconds=60, poll_seconds=0.005)
    assert receipt.transaction_hash == HASH


async def test_a_refused_subscription_is_replaced_by_polling(
    scripted: ScriptedNode, node: Node, scripted_socket: ScriptedSocket, socket: NodeSocket
) -> None:
    """A node that delivers no heads to us is polled."""
    scripted_socket.refusals["newHeads"] = AnsweredError(-40100, "Unauthorized")
    answers = iter([None] * 5 + [RECEIPT])
    scripted.answers["eth_getTransactionReceipt"] = lambda _: next(answers)
    receipt = await wait_mined(node, HASH, socket=socket, timeout_seconds=60, poll_seconds=0.01)
    assert receipt.block_number == 7


async def test_patience_ends(scripted: ScriptedNode, node: Node) -> None:
    """A PMT that is not mined in time is named, with what to do."""
    scripted.answers["eth_getTransactionReceipt"] = None
    with pytest.raises(NotMinedError, match="send the same bytes again") as failure:
        await wait_mined(node, HASH, socket=None, timeout_seconds=0.05, poll_seconds=0.01)
    assert failure.value.pmt_hash == HASH


async def test_an_answered_error_is_raised(scripted: ScriptedNode, node: Node) -> None:
    """A node that refuses to say is not asked for ever."""
    scripted.answers["eth_getTransactionReceipt"] = AnsweredError(-40100, "Unauthorized")
    with pytest.raises(UnauthorizedError):
        await wait_mined(node, HASH, socket=None, timeout_seconds=60, poll_seconds=0.01)


async def test_no_subscription_is_left_behind(
    scripted: ScriptedNode, node: Node, scripted_socket: ScriptedSocket, socket: NodeSocket
) -> None:
    """After the wait the node delivers nothing for it any more."""
    answers = iter([None, RECEIPT])
    scripted.answers["eth_getTransactionReceipt"] = lambda _: next(answers, RECEIPT)
    await socket.wait_connected(60)
    await wait_mined(node, HASH, socket=socket, timeout_seconds=60, poll_seconds=0.01)
    async with asyncio.timeout(60):
        while [method for method, _ in scripted_socket.calls] != ["eth_subscribe", "eth_unsubscribe"]:  # noqa: ASYNC110 - calls raise no event
            await asyncio.sleep(0.005)
    assert not socket._readers
