from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import ClientSession

from orchestrator.besu.client.group_snapshots import EMPTY_ROOT
from orchestrator.besu.client.node import Node
from orchestrator.besu.errors import MethodNotFoundError, ProtocolError, UnauthorizedError
from orchestrator.besu.transport.http_client import HttpNode
from tests.fakes.scripted_rpc import AnsweredError, ScriptedNode

HASH = "0x" + "11" * 32
GROUP = "DyAOiF/ynpc+JXa2YAGB0bCitSlOMNm+ShmB/7M6C4w="
KEY = "BULeR8JyUWhiuuCMU/HLA0Q5pzkYT+cHII3ZKBey3Bo="
ADDRESS = "0xfe3b557e8fb62b89f4916b721be55ceb828dbd73"
MINED = {"blockNumber": "0x5", "blockHash": HASH}
BLOCK = {"number": "0x5", "hash": HASH, "parentHash": HASH, "timestamp": "0x1", "transactions": []}


@pytest.fixture
def node(scripted: ScriptedNode, session: ClientSession) -> Node:
    """A node whose answers are scripted."""
    return Node(HttpNode(session, scripted.url), name="member1")


@pytest.mark.parametrize(
    "method",
    ["privx_findFlexiblePrivacyGroup", "privx_findOnchainPrivacyGroup", "privx_findOnChainPrivacyGroup"],
)
async def test_the_find_method_is_probed_once(scripted: ScriptedNode, node: Node, method: str) -> None:
    """The first call tries the names of all versions; later ones know."""
    scripted.answers[method] = lambda members: [{"privacyGroupId": GROUP, "members": members}]
    (found,) = await node.find_groups([KEY])
    assert (found.privacy_group_id, found.members) == (GROUP, (KEY,))
    probes = len(scripted.methods)
    await node.find_groups([KEY])
    assert scripted.methods[probes:] == [method]


async def test_a_node_without_a_find_method_says_so(scripted: ScriptedNode, node: Node) -> None:
    """When no version's method is known the error is that of the last."""
    with pytest.raises(MethodNotFoundError):
        await node.find_groups([KEY])
    assert len(scripted.methods) == 3


async def test_an_error_that_is_no_missing_method_ends_the_probe(scripted: ScriptedNode, node: Node) -> None:
    """A tenant that may not ask is told so at once."""
    scripted.answers["privx_findFlexiblePrivacyGroup"] = AnsweredError(-40100, "Unauthorized")
    with pytest.raises(UnauthorizedError):
        await node.find_groups([KEY])
    assert len(scripted.methods) == 1


@pytest.mark.parametrize(
    "method", ["ibft_getValidatorsByBlockNumber", "qbft_getValidatorsByBlockNumber", "clique_getSigners"]
)
async def test_validators_are_asked_of_the_consensus_that_runs(scripted: ScriptedNode, node: Node, method: str) -> None:
    """IBFT, QBFT and Clique are tried in turn."""
    scripted.answers[method] = [ADDRESS.upper().replace("X", "x")]
    assert await node.validators() == {ADDRESS}


@pytest.mark.parametrize(
    "refusal",
    [
        (-32601, "Method not found"),
        (-32604, "Method not enabled"),
        (-32000, "P2P has been disabled. This functionality is not available"),
    ],
)
async def test_a_node_that_hides_its_enode_still_has_an_address(
    scripted: ScriptedNode, node: Node, refusal: tuple[int, str]
) -> None:
    """Without an enode the address that it would make blocks as is taken."""
    scripted.answers |= {"net_enode": AnsweredError(*refusal), "eth_coinbase": ADDRESS}
    assert await node.own_address() == ADDRESS


async def test_a_snapshot_costs_one_http_request(scripted: ScriptedNode, node: Node) -> None:
    """A group at a known block is one batch, with nonce and code in it; at the head one call more."""
    scripted.answers |= {
        "eth_blockNumber": "0x5",
        "eth_getBlockByNumber": BLOCK,
        "priv_debugGetStateRoot": EMPTY_ROOT,
        "priv_call": "0x",
        "priv_getTransactionCount": "0x7",
        "priv_getCode": None,
    }
    view = await node.group_view(GROUP, 5, account=ADDRESS, with_code=True)
    assert view is not None
    assert (view.exists, view.private_nonce, view.code) == (False, 7, b"")
    assert node.http.counts.http_requests == 1
    await node.group_view(GROUP)
    assert node.http.counts.http_requests == 3


async def test_many_groups_share_one_http_request(scripted: ScriptedNode, node: Node) -> None:
    """Snapshots of many groups at one block travel together."""
    scripted.answers |= {"eth_getBlockByNumber": BLOCK, "priv_debugGetStateRoot": EMPTY_ROOT, "priv_call": "0x"}
    views = await node.group_views([GROUP] * 40, 5)
    assert len(views) == 40
    assert node.http.counts.http_requests == 1
    assert await node.group_views([], 5) == ()


async def test_receipts_of_many_markers_share_one_http_request(scripted: ScriptedNode, node: Node) -> None:
    """Public and private receipts of all pending PMTs are one batch."""
    scripted.answers |= {"eth_getTransactionReceipt": None, "priv_getTransactionReceipt": None}
    assert await node.receipts([HASH] * 3) == ((None, None),) * 3
    assert node.http.counts.http_requests == 1
    assert await node.receipts([]) == ()


@pytest.mark.parametrize(
    ("method", "call"),
    [
        ("eth_blockNumber", lambda node: node.head_number()),
        ("eth_getBlockByNumber", lambda node: node.head()),
        ("rpc_modules", lambda node: node.api_groups()),
        ("net_enode", lambda node: node.own_address()),
        ("eea_sendRawTransaction", lambda node: node.send_raw(b"")),
        ("priv_getCode", lambda node: node.group_abi(GROUP)),
        ("priv_getTransactionReceipt", lambda node: node.private_receipt(HASH)),
    ],
)
async def test_a_wrong_answer_is_named(
    scripted: ScriptedNode, node: Node, method: str, call: Callable[[Node], Any]
) -> None:
    """An answer that the method does not give raises the one error for it."""
    scripted.answers[method] = 5
    with pytest.raises(ProtocolError):
        await call(node)


async def test_a_transaction_in_no_block_waits_in_the_pool(scripted: ScriptedNode, node: Node) -> None:
    """Older versions leave the block's number out, newer ones say null; what is not known is not said to be nowhere."""
    hashes = ["0x" + digit * 64 for digit in "1234"]
    known = {hashes[0]: {"hash": hashes[0]}, hashes[1]: {"blockNumber": None}, hashes[2]: MINED}
    scripted.answers["eth_getTransactionByHash"] = known.get
    assert await node.pooled(hashes) == (True, True, False, None)
