"""Waiting for a PMT: woken by new heads, polling while no socket delivers them."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from orchestrator.besu.client.node import Node
from orchestrator.besu.codec.results import Head, PublicReceipt
from orchestrator.besu.errors import BesuError, TransportError
from orchestrator.besu.transport.websocket_client import NodeSocket, Subscription

T = TypeVar("T")

_LIVE_POLL_SECONDS: Final = 5.0
"""How often to look all the same while heads arrive: a head may say nothing of its transactions."""


class NotMinedError(Exception):
    """A PMT was not mined in time; it may be mined later.

    Sending the same bytes again is safe, except an addition's: see ``Node.send_raw``.

    Attributes:
        pmt_hash: the PMT.
    """

    def __init__(self, pmt_hash: str, seconds: float) -> None:
        super().__init__(
            f"the marker transaction {pmt_hash} was not mined within {seconds:g} s; "
            "check that the validators make blocks, and send the same bytes again; those of an addition only when no "
            "node's pool has it any more (eth_getTransactionByHash: null)"
        )
        self.pmt_hash = pmt_hash


async def wait_mined(
    node: Node, pmt_hash: str, *, socket: NodeSocket | None, timeout_seconds: float, poll_seconds: float
) -> PublicReceipt:
    """Wait until a PMT is mined and return its public receipt.

    Args:
        node: the node to ask, which has then imported the block.
        pmt_hash: the PMT.
        socket: the node's socket; without one, or while it is not connected, the node is polled.
        timeout_seconds: how long to wait.
        poll_seconds: time between polls.

    Raises:
        NotMinedError: it was not mined in time.
        BesuError: the node answered with an error; that it does not answer is waited out.
    """
    subscription = socket.subscribe_heads() if socket is not None else None
    try:
        async with asyncio.timeout(timeout_seconds):
            while True:
                receipt = await _look(node, pmt_hash)
                if receipt is not None:
                    return receipt
                await _next_reason_to_look(subscription, pmt_hash, poll_seconds)
    except TimeoutError as error:
        raise NotMinedError(pmt_hash, timeout_seconds) from error
    finally:
        if subscription is not None:
            await subscription.close()


async def wait_known(
    look: Callable[[], Awaitable[T | None]], *, timeout_seconds: float, poll_seconds: float
) -> T | None:
    """Ask until there is something to tell, and return it; None when there was nothing in time.

    Args:
        look: returns what is known, or None.
        timeout_seconds: how long to wait.
        poll_seconds: time between two looks.
    """
    try:
        async with asyncio.timeout(timeout_seconds):
            while (found := await look()) is None:  # noqa: ASYNC110 - it happens on the node
                await asyncio.sleep(poll_seconds)
            return found
    except TimeoutError:
        return None


async def _look(node: Node, pmt_hash: str) -> PublicReceipt | None:
    try:
        return await node.public_receipt(pmt_hash)
    except TransportError:
        return None


async def _next_reason_to_look(subscription: Subscription | None, pmt_hash: str, poll_seconds: float) -> None:
    if subscription is None:
        await asyncio.sleep(poll_seconds)
        return
    try:
        async with asyncio.timeout(_LIVE_POLL_SECONDS if subscription.live else poll_seconds):
            async for item in subscription:
                if not isinstance(item, Head):
                    return
                if item.transaction_hashes is None or pmt_hash in item.transaction_hashes:
                    return
    except TimeoutError:
        return
    except BesuError:
        await asyncio.sleep(poll_seconds)  # the node refuses subscriptions
    else:
        await asyncio.sleep(poll_seconds)  # the socket is closed
