"""Another client that adds members to a group of its own, one block after that group's lock.

While its lock is in the block of an addition of ours, and its addition in the next, the new member's node makes the
head map of that block anew, without our group (docs/besu.md#how-replay-damages-other-groups).
"""

import asyncio
import base64
from collections.abc import Sequence

from orchestrator.besu.client.signers import signer_from_key
from orchestrator.besu.codec.management_contract import MANAGEMENT_PROXY, Method, encode_add_participants, encode_call
from orchestrator.devnet.chain.public_transaction import PublicTransaction
from orchestrator.devnet.errors import RpcError
from tests.simulation.sending import send, signed
from tests.simulation.traffic import SENDER_KEY
from tests.simulation.world import World

LIKELY = 0.7
"""How likely an addition gets lost."""
LOOKS_PER_BLOCK = 20


class Thief:
    """Has additions lost.

    Args:
        world: Where it is.
        groups: The groups whose members it takes, besides.
    """

    def __init__(self, world: World, groups: Sequence[str]) -> None:
        self._world = world
        self._groups = groups
        self._signer = signer_from_key(SENDER_KEY)
        self._key = world.emulation.network.nodes[0].key
        self._abi = world.emulation.network.behaviour.abi
        self._met: set[bytes] = set()

    async def run(self) -> None:
        """Wait for additions, for ever."""
        world = self._world
        beside = self._found()
        while True:
            await asyncio.sleep(world.profile.block_seconds / LOOKS_PER_BLOCK)
            world.advance()
            addition = next((one for one in world.emulation.network.pool.pending() if self._is_addition(one)), None)
            if addition is None:
                continue
            self._met.add(addition.hash)
            if world.chance.random() < LIKELY:
                await self._take(addition, beside)
                beside = self._found()

    def _is_addition(self, transaction: PublicTransaction) -> bool:
        ours = self._world.checks.ledger.truth.group_of(transaction) in self._groups
        return ours and transaction.history_key is not None and transaction.hash not in self._met

    def _found(self) -> str:
        """Create the next group to add members to."""
        group = base64.b64encode(self._world.chance.randbytes(32)).decode()
        self._send(group, encode_add_participants(self._abi, (self._key,)))
        return group

    async def _take(self, addition: PublicTransaction, beside: str) -> None:
        world, ledger = self._world, self._world.checks.ledger
        group = ledger.truth.group_of(addition)
        before = self._members(group)
        self._send(beside, encode_call(Method.LOCK))
        while (newcomers := self._members(group) - before) == set():
            await asyncio.sleep(world.profile.block_seconds / LOOKS_PER_BLOCK)
            world.advance()
        world.say(f"another client adds {len(newcomers)} members of {group[:6]} to {beside[:6]}")
        self._send(beside, encode_add_participants(self._abi, tuple(sorted(newcomers))))
        ledger.harmed.add(group)

    def _members(self, group: str) -> set[str]:
        last = self._world.checks.ledger.truth.last(group)
        return set(last.state.contract.participants) if last is not None else set()

    def _send(self, group: str, payload: bytes) -> None:
        world = self._world
        api = world.emulation.apis[0]
        world.advance()
        try:
            send(api, signed(api, self._signer, SENDER_KEY, group, MANAGEMENT_PROXY, payload))
        except RpcError as error:
            world.say(f"another client was refused: {error}")
