"""An application's account: it writes to groups and calls their contracts, through one node."""

from orchestrator.besu.client.pmt_wait import NotMinedError, wait_known
from orchestrator.besu.client.sending_account import SendingAccount
from orchestrator.besu.codec.results import PrivateReceipt
from orchestrator.besu.errors import TransportError


class PrivateAccount(SendingAccount):
    """An account in the groups that a member's node has; what owners do is in ``FlexiblePrivacyGroups``.

    It is made with the arguments of `SendingAccount`.
    """

    async def transaction_count(self, privacy_group_id: str) -> int:
        """Return the account's next private nonce in a group, by what is executed at the node's head."""
        return await self._node.private_nonce(self._signer.address, privacy_group_id)

    async def send(
        self, privacy_group_id: str, to: str | None, data: bytes, *, private_nonce: int | None = None
    ) -> str:
        """Sign a private transaction, send it, and return the hash of its PMT; ``receipt`` waits for what became of it.

        Send one after another: markers that are mined in one block are in no order, so that of two of one account
        in a group the second may come first and be rejected (docs/besu.md#nonces). Nothing executes while the group is
        locked.

        Args:
            privacy_group_id: the group.
            to: the contract; None to make one of the init code in ``data``.
            data: the call.
            private_nonce: the account's nonce in the group; what the node counts when not given.

        Raises:
            SignerError: the account's key does not sign.
            BesuError: the node refused it or failed.
        """
        return await self._node.send_raw(await self._raw(privacy_group_id, to, data, private_nonce))

    async def distribute(
        self, privacy_group_id: str, to: str | None, data: bytes, *, private_nonce: int | None = None
    ) -> bytes:
        """Sign a private transaction, store it in its members' enclaves, and return its payload key.

        Nothing executes before a marker transaction with that key as its input is mined, which the caller sends. The
        arguments and errors are those of ``send``.
        """
        return await self._node.distribute_raw(await self._raw(privacy_group_id, to, data, private_nonce))

    async def receipt(self, pmt_hash: str) -> PrivateReceipt:
        """Wait until a private transaction is mined and this node knows what became of it.

        Its status says whether it executed: 1; 0 when its contract failed, 2 when it was not let in.

        Args:
            pmt_hash: the hash of its PMT.

        Raises:
            NotMinedError: it was not mined, or the node did not say what became of it, in time.
            BesuError: the node answered with an error; that it does not answer is waited out.
        """
        await self._mined(pmt_hash)

        async def look() -> PrivateReceipt | None:
            try:
                return await self._node.private_receipt(pmt_hash)
            except TransportError:
                return None

        found = await wait_known(look, timeout_seconds=self._mined_timeout_seconds, poll_seconds=self._poll_seconds)
        if found is None:
            raise NotMinedError(pmt_hash, self._mined_timeout_seconds)
        return found

    async def call(self, privacy_group_id: str, to: str, data: bytes, *, block_number: int | None = None) -> bytes:
        """Call a contract as this account without sending anything; see ``Node.private_call``."""
        return await self._node.private_call(
            privacy_group_id, to, data, sender=self._signer.address, block_number=block_number
        )

    async def _raw(self, group: str, to: str | None, data: bytes, private_nonce: int | None) -> bytes:
        if private_nonce is None:
            private_nonce = await self.transaction_count(group)
        return await self._signed(await self._unsigned(group, to, data, private_nonce))
