"""What waits in a node's pool."""

from typing import Any, Final

from orchestrator.besu.codec.json_rpc import Call
from orchestrator.besu.transport.http_client import HttpNode

MOST_PENDING: Final = 2_000
"""Transactions of a pool that are looked at."""


async def pooled(http: HttpNode) -> dict[str, Any]:
    """Return the transactions that wait in a node's pool, as it shows them, by hash.

    Raises:
        BesuError: The node does not answer, or has no such method for us.
    """
    # The list has neither inputs nor senders: each transaction is asked for by its hash, all in one request.
    listed = await http.call("txpool_besuTransactions")
    found = listed if isinstance(listed, list) else []
    hashes = [item["hash"] for item in found[:MOST_PENDING] if isinstance(item, dict) and "hash" in item]
    answers = await http.batch([Call("eth_getTransactionByHash", (item,)) for item in hashes])
    return dict(zip(hashes, (answer.result for answer in answers), strict=True))
