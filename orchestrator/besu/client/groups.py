"""The client library: create, find and change flexible privacy groups through one node and one account."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace

from orchestrator.besu.client.group_changes import ChangeReceipt, CreatedGroup, GroupChangeError
from orchestrator.besu.client.outcome import Rejected, Rejection, Unseen, read_outcome
from orchestrator.besu.client.own_markers import OwnMarkers, one_time_account
from orchestrator.besu.client.pmt_wait import NotMinedError
from orchestrator.besu.client.sending_account import SendingAccount
from orchestrator.besu.client.signer_ports import SignerError
from orchestrator.besu.codec.identifiers import privacy_group_id_from_bytes, privacy_group_id_to_bytes
from orchestrator.besu.codec.management_contract import (
    MANAGEMENT_PROXY,
    Abi,
    ManagementCall,
    Method,
    abi_of_code,
    decode_call,
    encode_add_participants,
    encode_call,
    encode_remove_participant,
)
from orchestrator.besu.codec.results import FoundGroup, GroupView
from orchestrator.besu.errors import BesuError, NotKnownError
from orchestrator.besu.transaction_errors import MarkerKnownError
from orchestrator.besu.versions import native_abi
from orchestrator.membership.attempt import NODE_MARKER, Marker
from orchestrator.membership.besu_lines import DISTRIBUTES_HISTORY_SINCE, unlock_works


class FlexiblePrivacyGroups(SendingAccount):
    """Groups as one member sees and, as their owner, changes them.

    The methods raise ``GroupChangeError`` when a change cannot be made, ``NotMinedError`` when its PMT was not mined in
    time, ``BesuError`` when the node fails, and ``SignerError``. Changes of one group must come one after another.

    It is made with the arguments of `SendingAccount`; only the account that created a group may change it.
    """

    @property
    def _markers(self) -> OwnMarkers:
        return OwnMarkers(gas_limit=self._gas_limit, gas_price=self._gas_price)

    async def create(self, members: Sequence[str], *, privacy_group_id: str | None = None) -> CreatedGroup:
        """Create a group; its members must contain this member. Takes one block.

        Args:
            members: enclave keys, base64.
            privacy_group_id: base64 of 32 bytes; random when not given.
        """
        group = privacy_group_id or privacy_group_id_from_bytes(secrets.token_bytes(32))
        privacy_group_id_to_bytes(group)
        if self._enclave_key not in members:
            raise GroupChangeError("the sending member must be among the members of the group it creates")
        before = await self._view(group)
        if before.exists:
            raise GroupChangeError(f"there is a group {group} already; choose another id, or add members to it")
        version = await self._node.version()
        receipt = await self._change(group, encode_add_participants(native_abi(version), members), before)
        return CreatedGroup(group, receipt)

    async def find(self, members: Sequence[str]) -> tuple[FoundGroup, ...]:
        """Return the groups that all of these enclave keys are members of; others may be, too."""
        return await self._node.find_groups(members)

    async def participants(self, privacy_group_id: str) -> tuple[str, ...]:
        """Return the group's members, enclave keys in the contract's order."""
        return (await self._existing(privacy_group_id)).participants

    async def add(
        self, privacy_group_id: str, members: Sequence[str], *, check: Callable[[int], Awaitable[None]] | None = None
    ) -> ChangeReceipt | None:
        """Add members: lock, wait until the node has the block after the lock's, add. Takes three blocks.

        The add unlocks by itself; when it cannot be made its marker is burnt and the group is unlocked again. Mined in
        the block after its lock, it would roll back other groups of the new members' nodes; mined after an unlock, it
        would split this one (docs/besu.md#how-replay-damages-other-groups, #stale-bundles). Whether the history can be
        replayed at all is not looked at here: the daemon's forecast does. That it executed here does not prove that the
        new members' nodes received the group: compare their state roots with this node's.

        Args:
            privacy_group_id: the group, unlocked and owned by the account.
            members: enclave keys, base64.
            check: awaited with the lock's block number before anything is sent to the new members; what it raises is
                raised, after the group is unlocked again.

        Returns:
            The receipt of the add; None when all are members already, and nothing was sent.
        """
        view = await self._existing(privacy_group_id)
        missing = [member for member in dict.fromkeys(members) if member not in view.participants]
        if not missing:
            return None
        data = encode_add_participants(_abi(view), missing)
        if view.locked:
            raise GroupChangeError(f"the group {privacy_group_id} is locked by another client of its owner")
        locking = asyncio.create_task(self.lock(privacy_group_id))
        marker: Marker | None = None
        try:
            lock = await asyncio.shield(locking)
            await self._past(lock.block_number)
            if check is not None:
                await check(lock.block_number)
            locked = await self._view(privacy_group_id)
            _check_as_left(locked, lock.view, privacy_group_id)
            bundles = await self._node.version() >= DISTRIBUTES_HISTORY_SINCE
            add = self._distribute if bundles else self._sent_by_node
            marker = await add(privacy_group_id, data, locked.private_nonce or 0)
            return await self._settle(privacy_group_id, data, locked, marker)
        except BaseException as error:
            await self._take_back(locking, marker, error, privacy_group_id)
            raise

    async def remove(self, privacy_group_id: str, member: str) -> ChangeReceipt:
        """Remove a member from an unlocked group. Takes one block."""
        view = await self._existing(privacy_group_id)
        return await self._change(privacy_group_id, encode_remove_participant(_abi(view), member), view)

    async def lock(self, privacy_group_id: str) -> ChangeReceipt:
        """Lock a group: nothing executes in it until it is unlocked, by ``unlock`` or by an add."""
        view = await self._existing(privacy_group_id)
        await self._check_owner(privacy_group_id)
        return await self._change(privacy_group_id, encode_call(Method.LOCK), view)

    async def unlock(self, privacy_group_id: str) -> ChangeReceipt:
        """Unlock a group; by an empty add on versions whose ``unlock()`` does not work."""
        view = await self._existing(privacy_group_id)
        empty_add = encode_add_participants(_abi(view), [])
        if not unlock_works(await self._node.version()):
            return await self._change(privacy_group_id, empty_add, view)
        return await self._change(privacy_group_id, encode_call(Method.UNLOCK), view)

    async def _change(self, group: str, data: bytes, before: GroupView) -> ChangeReceipt:
        marker = await self._distribute(group, data, before.private_nonce or 0)
        return await self._settle(group, data, before, marker)

    async def _distribute(self, group: str, data: bytes, private_nonce: int) -> Marker:
        """Sign and distribute a private transaction; nothing executes before its marker is broadcast."""
        transaction = await self._unsigned(group, MANAGEMENT_PROXY, data, private_nonce)
        key = await self._node.distribute_raw(await self._signed(transaction))
        return self._markers.make(key, transaction.chain_id, one_time_account())

    async def _sent_by_node(self, group: str, data: bytes, private_nonce: int) -> Marker:
        """Send a private transaction with a marker of the node's, which brings the history on every version."""
        raw = await self._signed(await self._unsigned(group, MANAGEMENT_PROXY, data, private_nonce))
        return replace(NODE_MARKER, pmt_hash=await self._node.send_raw(raw))

    async def _broadcast(self, raw: bytes) -> None:
        with suppress(MarkerKnownError):
            await self._node.broadcast_raw(raw)

    async def _settle(self, group: str, data: bytes, before: GroupView, marker: Marker) -> ChangeReceipt:
        pmt_hash, private_nonce = marker.pmt_hash, before.private_nonce or 0
        if marker.ours:
            await self._broadcast(marker.raw)
        mined = await self._mined(pmt_hash)
        receipt = await self._node.private_receipt(pmt_hash)
        after = await self._view_at(group, mined.block_number)
        call = decode_call(data)
        outcome = read_outcome(call or ManagementCall(Method.LOCK), private_nonce, receipt, before, after)
        if isinstance(outcome, Rejected):
            raise GroupChangeError(
                f"the change of group {group} was mined in block {mined.block_number} without effect, "
                f"{outcome.rejection.value}: {outcome.detail}",
                rejection=outcome.rejection,
            )
        if isinstance(outcome, Unseen) or after is None:
            raise GroupChangeError(
                f"the node does not say what became of {pmt_hash}, mined in block {mined.block_number}; "
                "look at the group's members"
            )
        return ChangeReceipt(pmt_hash, mined.block_number, mined.block_hash, outcome.members, after)

    async def _view(self, group: str) -> GroupView:
        try:
            async with asyncio.timeout(self._mined_timeout_seconds):
                while True:
                    with suppress(NotKnownError):  # a reorganisation took the head just read, or a replica is late
                        return await self._node.group_view(group, account=self._signer.address, with_code=True)
                    await asyncio.sleep(self._poll_seconds)
        except TimeoutError as error:
            raise GroupChangeError(
                f"the node did not show the group {group} at its head within {self._mined_timeout_seconds:g} s; look "
                "whether it, or a replica behind its address, is late"
            ) from error

    async def _view_at(self, group: str, block_number: int) -> GroupView | None:
        with suppress(NotKnownError):
            return await self._node.group_view(group, block_number)
        return None

    async def _existing(self, group: str) -> GroupView:
        privacy_group_id_to_bytes(group)
        view = await self._view(group)
        if not view.exists:
            raise GroupChangeError(f"the node knows no group {group}; ask a node that is a member of it")
        return view

    async def _check_owner(self, group: str) -> None:
        if await self._node.is_owner(group, self._signer.address) is False:
            raise GroupChangeError(
                f"{self._signer.address} does not own the group {group}; only the account that created it may",
                rejection=Rejection.NOT_OWNER,
            )

    async def _past(self, block_number: int) -> None:
        """Wait until the node has a block above this one."""
        try:
            async with asyncio.timeout(self._mined_timeout_seconds):
                while True:
                    head = await self._node.head()
                    if head.number > block_number:
                        return
                    await asyncio.sleep(self._poll_seconds)
        except TimeoutError as error:
            raise GroupChangeError(
                f"no block followed the lock's, {block_number}, within {self._mined_timeout_seconds:g} s; check that "
                "the validators make blocks"
            ) from error

    async def _take_back(
        self, locking: asyncio.Task[ChangeReceipt], marker: Marker | None, failure: BaseException, group: str
    ) -> None:
        """Unlock after a failed add; what goes wrong here is noted on the failure that is on its way."""
        try:
            await locking  # a lock on its way would be mined after nobody waits for it any more
        except NotMinedError as error:
            failure.add_note(f"the lock may still be mined, and the group {group} be locked then: {error}")
            return
        except BesuError as error:
            if not error.certain:
                failure.add_note(f"the lock may have been sent, and the group {group} be locked then: {error}")
            return
        except (GroupChangeError, SignerError):
            return  # the lock was not taken; if the group is locked it is by another client
        if marker is not None and not await self._is_decided(marker):
            failure.add_note(
                f"the addition's marker {marker.pmt_hash} may still be mined; the group {group} stays locked, since "
                "an unlock before that would split it"
            )
            return
        try:
            if (await self._view(group)).locked:
                await self.unlock(group)
        except (BesuError, GroupChangeError, NotMinedError, SignerError) as error:
            if await self._may_be_locked(group):
                failure.add_note(f"the group {group} may still be locked, for unlocking it failed too: {error}")

    async def _is_decided(self, marker: Marker) -> bool:
        """Burn a marker and wait until it or what burns it is mined; False when that takes too long."""
        if not marker.ours:
            return False  # the node's own marker can't be burnt
        burn = self._markers.burn(marker)
        try:
            async with asyncio.timeout(self._mined_timeout_seconds):
                while True:
                    with suppress(BesuError):  # refused by a pool that keeps the marker: the blocks decide
                        await self._broadcast(burn.raw)
                    for transaction_hash in (marker.pmt_hash, burn.transaction_hash):
                        with suppress(BesuError):
                            if await self._node.public_receipt(transaction_hash) is not None:
                                return True
                    await asyncio.sleep(self._poll_seconds)
        except TimeoutError:
            return False

    async def _may_be_locked(self, group: str) -> bool:
        # The add that was given up may have been mined instead of the unlock, and unlocked the group.
        try:
            return (await self._view(group)).locked
        except BesuError:
            return True


def _check_as_left(now: GroupView, left: GroupView, group: str) -> None:
    """Raise when something executed in a group since its lock: the state root stands for lock, version and nonces."""
    if not now.locked or now.state_root != left.state_root:
        raise GroupChangeError(f"somebody else acted on the group {group} while it was locked")


def _abi(view: GroupView) -> Abi:
    abi = abi_of_code(view.code or b"")
    if abi is None or abi is Abi.LEGACY:
        raise GroupChangeError(
            "the group was created by Besu 1.5.2 or older; no later version can change it, create a new group"
        )
    return abi
