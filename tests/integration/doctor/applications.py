"""What applications do to a group while the doctor looks."""

from collections.abc import Sequence

from orchestrator.besu import HttpNode, Node, open_session, sign_private_transaction
from orchestrator.besu.client.pmt_wait import wait_mined
from orchestrator.besu.codec.management_contract import MANAGEMENT_PROXY, Method, encode_call
from orchestrator.besu.codec.private_transaction import PrivateTransaction
from orchestrator.devnet import Devnet
from tests.patience import patient

OWNER = "0xfe3b557e8fb62b89f4916b721be55ceb828dbd73"
# The well-known public development key of this account.
OWNER_KEY = "8f2a55949038a9610f50fb23b5883af3b4ecb3c3bb792cbcefbd1542c692be63"


async def apply(devnet: Devnet, group: str, calls: Sequence[Method]) -> int:
    """Send calls one after the other through the first node, with markers of the node's; return the last block."""
    first = devnet.nodes[0]
    mined = 0
    async with open_session() as session:
        node = Node(HttpNode(session, first.http_url))
        for private_nonce, method in enumerate(calls, await node.private_nonce(OWNER, group)):
            transaction = PrivateTransaction(
                private_nonce=private_nonce,
                private_from=first.enclave_key,
                to=MANAGEMENT_PROXY,
                data=encode_call(method),
                privacy_group_id=group,
                chain_id=await node.chain_id(),
            )
            pmt_hash = await node.send_raw(sign_private_transaction(transaction, OWNER_KEY))
            receipt = await wait_mined(node, pmt_hash, socket=None, timeout_seconds=patient(10), poll_seconds=0.02)
            mined = receipt.block_number
    return mined
