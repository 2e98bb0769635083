"""Accounts that send public transactions all the time, as other people's applications do. Pure.

Source: docs/besu.md#what-a-replay-needs: an account that is twice in a block with a transaction of a group makes the
group unextendable, so whoever extends groups must cope with such traffic.
"""

from dataclasses import dataclass, field
from typing import Final

from eth_hash.auto import keccak

from orchestrator.devnet.chain.public_signatures import SigningAccount, sign_public_transaction, signing_account
from orchestrator.devnet.chain.public_transaction import intrinsic_gas
from orchestrator.devnet.errors import RpcError
from orchestrator.devnet.network.gossip import NodePools
from orchestrator.devnet.nodes.node import Node

MAX_ACCOUNTS: Final = 100
MAX_PER_BLOCK: Final = 100
CALLED_CONTRACT: Final = "0x" + "c0de" * 10


@dataclass(slots=True)
class PublicTraffic:
    """What is sent before each block.

    Attributes:
        accounts: who sends; nobody stops the traffic.
        per_block: how many each account has in a block; a fraction is the share of blocks that has one more.
        payload: what they call a contract with; empty for transfers of nothing to the sender itself.
        owed: what of the fractions has added up, by account.
    """

    accounts: tuple[SigningAccount, ...] = ()
    per_block: float = 0.0
    payload: bytes = b""
    owed: list[float] = field(default_factory=list)

    @classmethod
    def of(cls, accounts: int, per_block: float, payload: bytes = b"") -> "PublicTraffic":
        """Traffic of a number of accounts, the same ones each time; their fractions don't fall on the same blocks."""
        senders = tuple(
            signing_account(keccak(b"orchestrator devnet public traffic %d" % at)) for at in range(accounts)
        )
        return cls(senders, per_block, payload, [at / accounts for at in range(accounts)])

    def send(self, pools: NodePools, proposer: Node, account_nonces: dict[str, int], chain_id: int) -> None:
        """Put into the proposer's pool what each account has in the next block.

        Args:
            pools: of all nodes.
            proposer: who makes the next block.
            account_nonces: public nonces after the chain's head, by account.
            chain_id: of the network.
        """
        for at, account in enumerate(self.accounts):
            self.owed[at] += self.per_block
            count, mined = int(self.owed[at]), account_nonces[account.address]
            self.owed[at] -= count
            waiting = pools.of(proposer).next_account_nonce(account.address, mined)
            # What still waits, since blocks were full, is what the account has in the next block.
            for account_nonce in range(waiting, mined + count):
                transaction = sign_public_transaction(
                    account,
                    account_nonce=account_nonce,
                    gas_price=0,
                    gas_limit=intrinsic_gas(self.payload),
                    to=CALLED_CONTRACT if self.payload else account.address,
                    payload=self.payload,
                    chain_id=chain_id,
                )
                try:
                    pools.submit(proposer, transaction)
                except RpcError:
                    # The network asks a price, permits others only, or the account has too many waiting.
                    break
