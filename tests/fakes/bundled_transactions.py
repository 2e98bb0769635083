"""Private transactions as a history brings them to a new member, made by hand."""

from orchestrator.besu.codec.bundles import BundledTransaction
from orchestrator.besu.codec.private_transaction import (
    PrivateTransaction,
    decode_private_transaction,
    sign_private_transaction,
)

GROUP = "X/jwcb97V5pnDmFMgnjnI1XAJMls4t8eCb25J4SsZU0="
SENDER = "BULeR8JyUWhiuuCMU/HLA0Q5pzkYT+cHII3ZKBey3Bo="
_KEY = "8f2a55949038a9610f50fb23b5883af3b4ecb3c3bb792cbcefbd1542c692be63"
"""A well-known public development key."""


def bundled(nonce: int = 0, data: bytes = b"", to: str = "0x" + "11" * 20) -> BundledTransaction:
    """Return a signed transaction of the group, with hashes that its nonce tells."""
    fields = PrivateTransaction(
        private_nonce=nonce, private_from=SENDER, to=to, data=data, privacy_group_id=GROUP, chain_id=1
    )
    signed = decode_private_transaction(sign_private_transaction(fields, _KEY))
    return BundledTransaction(bytes([nonce]) * 32, signed, bytes([nonce + 1]) * 32)
