"""Making and signing the marker transactions of a node's own, by a random key each or by one fixed key. Pure.

Source: docs/besu.md#nonces: with random keys the order of two markers in a block says nothing; with a fixed key it is
the order of submission.
"""

from eth_hash.auto import keccak

from orchestrator.besu.codec.management_contract import PRIVACY_PRECOMPILE
from orchestrator.devnet.chain.public_signatures import SigningAccount, sign_public_transaction, signing_account
from orchestrator.devnet.chain.public_transaction import PublicTransaction


def marker_account(seed: bytes) -> SigningAccount:
    """Derive an account from a seed: the same seed gives the same account."""
    return signing_account(keccak(b"orchestrator devnet marker" + seed))


def sign_marker(
    account: SigningAccount, *, account_nonce: int, gas_price: int, gas_limit: int, payload: bytes
) -> PublicTransaction:
    """Make a marker transaction to the privacy precompile, without a chain id, as nodes sign theirs (transcripts)."""
    return sign_public_transaction(
        account,
        account_nonce=account_nonce,
        gas_price=gas_price,
        gas_limit=gas_limit,
        to=PRIVACY_PRECOMPILE,
        payload=payload,
    )
