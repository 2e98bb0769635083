"""Other people's public transactions: an account that is twice in a block makes that block impossible to replay."""

import asyncio

from orchestrator.devnet.errors import RpcError
from orchestrator.devnet.public_signing import sign_public_transaction, signing_account
from tests.simulation.world import World

SENDER_KEY = "c87509a1c067bbde78beb793e6fa76530b6382a4c0241e5e4a9ec0a0f44dc0d3"
"""The key of the public development account 0x6273…; it must never hold anything of value."""
RECEIVER = "0x" + "22" * 20
GAS_LIMIT = 21_000


async def send_pairs(world: World) -> None:
    """Send two transfers of one account at once, now and then, for ever."""
    account = signing_account(bytes.fromhex(SENDER_KEY))
    while True:
        await asyncio.sleep(world.chance.expovariate(1 / (4 * world.weather.block_seconds)))
        world.advance()
        api = world.emulation.apis[world.chance.randrange(world.weather.nodes)]
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
