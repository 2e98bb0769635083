"""Another client of the owner account, outside of the daemon: it sets groups up, and gets in the daemon's way."""

import asyncio

from orchestrator.besu.client.signers import signer_from_key
from orchestrator.besu.codec.management_contract import (
    MANAGEMENT_PROXY,
    Method,
    encode_add_participants,
    encode_call,
    encode_remove_participant,
)
from orchestrator.devnet.errors import RpcError
from tests.simulation.replica import OWNER_KEY
from tests.simulation.sending import send, signed
from tests.simulation.world import World

GAS_LIMIT = 2_900_000
"""Not the daemon's, so that one can tell who signed."""


class OwnerClient:
    """Sends through node 1, unless it is told otherwise, and asks nobody.

    Args:
        world: Where it is.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._signer = signer_from_key(OWNER_KEY)
        self._abi = world.emulation.network.behaviour.abi
        self.raws: set[bytes] = set()
        self.made: dict[str, tuple[str, ...]] = {}

    def create(self, group: str, members: tuple[str, ...], through: int = 1) -> None:
        """Create a group through a node, counted from 1."""
        self.made[group] = members
        self._send(group, encode_add_participants(self._abi, members), MANAGEMENT_PROXY, through)

    def lock(self, group: str) -> None:
        self._send(group, encode_call(Method.LOCK), MANAGEMENT_PROXY)

    def unlock(self, group: str) -> None:
        # Before 21.7.4 only an addition of nobody unlocks (docs/besu.md#versions, 5).
        works = self._world.emulation.network.behaviour.proxy_open_while_locked
        payload = encode_call(Method.UNLOCK) if works else encode_add_participants(self._abi, ())
        self._send(group, payload, MANAGEMENT_PROXY)

    def remove(self, group: str, member: str) -> None:
        self._send(group, encode_remove_participant(self._abi, member), MANAGEMENT_PROXY)

    def write(self, group: str) -> None:
        """Send a transaction of an application."""
        self._send(group, b"\x01\x02\x03\x04", "0x" + "11" * 20)

    async def add(self, group: str, member: str) -> None:
        """Lock, wait for blocks, add."""
        self.lock(group)
        await asyncio.sleep(1.5 * self._world.profile.block_seconds)
        self._send(group, encode_add_participants(self._abi, (member,)), MANAGEMENT_PROXY)

    async def meddle(self, group: str, member: str) -> None:
        """Do one thing to a group."""
        kind = self._world.chance.choice(
            ("write", "lock", "unlock", "add", "remove", "write twice", "break in", "break in")
        )
        self._world.say(f"another client: {kind} in {group[:6]}")
        match kind:
            case "write":
                self.write(group)
            case "write twice":
                self.write(group)
                await asyncio.sleep(self._world.profile.block_seconds)
                self.write(group)
            case "break in":
                await self._break_in(group, member)
            case "lock":
                self.lock(group)
                await asyncio.sleep(self._world.chance.choice((2.0, 20.0, 60.0)))
                self.unlock(group)
            case "unlock":
                self.unlock(group)
            case "add":
                await self.add(group, member)
            case "remove":
                self.remove(group, member)

    async def _break_in(self, group: str, member: str) -> None:
        """Wait for a lock of the daemon's and act under it, while the daemon is away perhaps."""
        world = self._world
        for _ in range(60):
            await asyncio.sleep(0.5)
            if self._is_locked_by_daemon(group):
                await asyncio.sleep(world.chance.choice((0.0, world.profile.block_seconds)))
                if world.stormy and world.chance.random() < 0.5:
                    for life in world.lives.values():
                        life.die("a power cut")
                world.say(f"another client unlocks {group[:6]}, which the daemon locked")
                self.unlock(group)
                if world.chance.random() < 0.5:
                    await asyncio.sleep(world.profile.block_seconds)
                    await self.add(group, member) if world.chance.random() < 0.3 else self.write(group)
                return

    def _is_locked_by_daemon(self, group: str) -> bool:
        last = self._world.checks.ledger.truth.last(group)
        return last is not None and not last.state.contract.can_execute and last.signed.raw not in self.raws

    def _send(self, group: str, payload: bytes, to: str, through: int = 1) -> None:
        world = self._world
        api = world.emulation.apis[through - 1]
        world.advance()
        try:
            raw = signed(api, self._signer, OWNER_KEY, group, to, payload, gas_limit=GAS_LIMIT)
            send(api, raw)
        except RpcError as error:
            world.say(f"another client was refused: {error}")
        else:
            self.raws.add(raw)
