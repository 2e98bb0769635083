"""How clients outside of the daemon send private transactions to an emulated node."""

from orchestrator.besu.client.signer_ports import Signer
from orchestrator.besu.codec.private_transaction import (
    USUAL_GAS_LIMIT,
    PrivateTransaction,
    sign_private_transaction,
)
from orchestrator.devnet.network.submission import Submission
from orchestrator.devnet.rpc.dispatch import NodeApi


def signed(
    api: NodeApi, signer: Signer, key: str, group: str, to: str, data: bytes, *, gas_limit: int = USUAL_GAS_LIMIT
) -> bytes:
    """Sign a transaction with the private nonce that a node counts, from the member that it hosts.

    Raises:
        RpcError: The node does not count.
    """
    private_nonce = int(api.call("priv_getTransactionCount", [signer.address, group]), 16)
    transaction = PrivateTransaction(
        private_nonce=private_nonce,
        private_from=api.node.key,
        to=to,
        data=data,
        privacy_group_id=group,
        chain_id=api.network.config.chain_id,
        gas_limit=gas_limit,
    )
    return sign_private_transaction(transaction, key)


def send(api: NodeApi, raw: bytes) -> None:
    """Send a signed transaction, and let the node go through with it at once.

    Raises:
        RpcError: The node refuses it.
    """
    submission = api.call("eea_sendRawTransaction", ["0x" + raw.hex()])
    if isinstance(submission, Submission):
        submission.complete()
