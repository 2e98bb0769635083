"""What others do on the network: public transfers, some twice in a block, and an application's private writes."""

import asyncio
from collections.abc import Sequence

from orchestrator.besu.client.signers import signer_from_key
from orchestrator.devnet.chain.public_signatures import sign_public_transaction, signing_account
from orchestrator.devnet.errors import RpcError
from tests.simulation.fault_profile import Pace
from tests.simulation.sending import send, signed
from tests.simulation.world import World

SENDER_KEY = "c87509a1c067bbde78beb793e6fa76530b6382a4c0241e5e4a9ec0a0f44dc0d3"
"""The key of the public development account 0x6273…; it must never hold anything of value."""
WRITER_KEY = "ae6ae8e5ccbfb04590405997ee2d52d2b330726137b875053c36d94e974d162f"
"""The key of the public development account 0xf17f…; it must never hold anything of value."""
RECEIVER = "0x" + "22" * 20
GAS_LIMIT = 21_000


async def send_pairs(world: World) -> None:
    """Send two transfers of one account at once, now and then, for ever."""
    account = signing_account(bytes.fromhex(SENDER_KEY))
    while True:
        await asyncio.sleep(world.chance.expovariate(1 / (4 * world.profile.block_seconds)))
        world.advance()
        api = world.emulation.apis[world.chance.randrange(world.profile.nodes)]
        mined = world.emulation.network.chain.account(account.address).account_nonce
        for account_nonce in (mined, mined + 1):
            transfer = sign_public_transaction(
                account,
                account_nonce=account_nonce,
                gas_price=0,
                gas_limit=GAS_LIMIT,
                to=RECEIVER,
                value=1,
                chain_id=world.emulation.network.config.chain_id,
            )
            try:
                api.call("eth_sendRawTransaction", ["0x" + transfer.raw.hex()])
            except RpcError as error:
                world.say(f"a transfer was refused: {error}")


class Application:
    """Writes to groups, in the name of an account that owns none of them.

    Args:
        world: Where it is.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._signer = signer_from_key(WRITER_KEY)
        self.raws: set[bytes] = set()

    async def write(self, groups: Sequence[str]) -> None:
        """Write to each group about once a block, for ever: a replay of one then runs over blocks of the others."""
        world = self._world
        while True:
            await asyncio.sleep(world.chance.uniform(0.5, 1.5) * world.profile.block_seconds)
            for group in groups:
                self._write_once(group)

    async def write_at_pace(self, groups: Sequence[str]) -> None:
        """Write to each group at its own pace, for ever: some groups fill runs of blocks, others leave gaps in them."""
        world = self._world
        while True:
            await asyncio.sleep(world.profile.block_seconds)
            for group, pace in zip(groups, world.profile.paces, strict=True):
                if self._is_due(group, pace):
                    self._write_once(group)

    def _is_due(self, group: str, pace: Pace) -> bool:
        executed = self._world.checks.ledger.truth.executed(group)
        next_block = self._world.emulation.network.chain.head.number + 1
        likely = {Pace.NEVER: 0.0, Pace.EVERY_BLOCK: 0.9, Pace.AT_RANDOM: 0.4, Pace.PAUSING: 0.7}[pace]
        follows = bool(executed) and executed[-1][0] == next_block - 1
        return self._world.chance.random() < likely and not (pace is Pace.PAUSING and follows)

    def _write_once(self, group: str) -> None:
        world = self._world
        last = world.checks.ledger.truth.last(group)
        members = last.state.contract.participants if last is not None else ()
        apis = [api for api in world.emulation.apis if api.node.up and api.node.key in members]
        if not apis:
            return
        world.advance()
        api = world.chance.choice(apis)
        try:
            raw = signed(api, self._signer, WRITER_KEY, group, "0x" + "11" * 20, b"\x01\x02\x03\x04")
            self.raws.add(raw)
            send(api, raw)
        except RpcError as error:
            world.say(f"a write was refused: {error}")
