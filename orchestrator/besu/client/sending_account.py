"""An account that sends private transactions through one member's node: what owners and applications have in common."""

from orchestrator.besu.client.node import Node, sending_key
from orchestrator.besu.client.pmt_wait import wait_mined
from orchestrator.besu.client.signer_ports import Signer
from orchestrator.besu.codec.private_transaction import (
    USUAL_GAS_LIMIT,
    PrivateTransaction,
    UnsignedPrivateTransaction,
    unsigned_private_transaction,
)
from orchestrator.besu.codec.results import PublicReceipt
from orchestrator.besu.transport.websocket_client import NodeSocket


class SendingAccount:
    """An account, the node that it sends through, and how long it waits.

    Args:
        node: a member's node, which everything is read from and sent through.
        signer: the account.
        enclave_key: the member's key, base64, hosted by the node's enclave; the node's own when not given.
        socket: the node's socket, to be woken by new heads; the node is polled without one.
        gas_limit: in gas, of the marker transactions too.
        gas_price: in wei, of the marker transactions too.
        mined_timeout_seconds: how long to wait for a transaction to be mined.
        poll_seconds: time between polls.
    """

    def __init__(
        self,
        node: Node,
        signer: Signer,
        enclave_key: str | None = None,
        *,
        socket: NodeSocket | None = None,
        gas_limit: int = USUAL_GAS_LIMIT,
        gas_price: int = 0,
        mined_timeout_seconds: float = 60.0,
        poll_seconds: float = 0.5,
    ) -> None:
        self._node = node
        self._signer = signer
        self._enclave_key = sending_key(node, enclave_key)
        self._socket = socket
        self._gas_limit = gas_limit
        self._gas_price = gas_price
        self._mined_timeout_seconds = mined_timeout_seconds
        self._poll_seconds = poll_seconds
        self._chain_id: int | None = None

    @property
    def address(self) -> str:
        """The account, "0x…"."""
        return self._signer.address

    async def _unsigned(
        self, group: str, to: str | None, data: bytes, private_nonce: int
    ) -> UnsignedPrivateTransaction:
        if self._chain_id is None:
            self._chain_id = await self._node.chain_id()
        transaction = PrivateTransaction(
            private_nonce=private_nonce,
            private_from=self._enclave_key,
            to=to,
            data=data,
            privacy_group_id=group,
            chain_id=self._chain_id,
            gas_limit=self._gas_limit,
            gas_price=self._gas_price,
        )
        return unsigned_private_transaction(transaction)

    async def _signed(self, transaction: UnsignedPrivateTransaction) -> bytes:
        return transaction.signed(await self._signer.sign(transaction.message))

    async def _mined(self, pmt_hash: str) -> PublicReceipt:
        return await wait_mined(
            self._node,
            pmt_hash,
            socket=self._socket,
            timeout_seconds=self._mined_timeout_seconds,
            poll_seconds=self._poll_seconds,
        )
