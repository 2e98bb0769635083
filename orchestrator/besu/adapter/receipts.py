"""From receipts to what a PMT came to, in the words of the rules (docs/besu.md#outcomes). Pure."""

from orchestrator.besu.client.outcome import NOT_EXECUTED
from orchestrator.besu.codec.results import PrivateReceipt, PublicReceipt
from orchestrator.engine.ports.nodes import PmtOutcome
from orchestrator.membership.reasons.table import Reason


def outcome_of(
    pmt_hash: str, mined: PublicReceipt | PrivateReceipt | None, private: PrivateReceipt | None
) -> PmtOutcome:
    """Return what a PMT came to.

    Args:
        pmt_hash: The PMT.
        mined: A receipt that tells its block; None while it is not mined.
        private: The private receipt; None where the node lacks the payload.
    """
    if mined is None:
        return PmtOutcome(pmt_hash=pmt_hash)
    # Mined without a private receipt is unknown: the receipt comes a moment later, or never on a node without payload.
    return PmtOutcome(
        pmt_hash=pmt_hash,
        block_number=mined.block_number,
        block_hash=mined.block_hash,
        executed=None if private is None else private.status == 1,
        reason=None if private is None else refusal_of(private),
    )


def refusal_of(receipt: PrivateReceipt) -> Reason | None:
    """Return why a private transaction did not execute; None when it did (docs/besu.md#outcomes)."""
    if receipt.status == 1:
        return None
    # 21.1 says 0x0 here, as for all else: there the group is read anew, and the private nonce with it.
    if receipt.status == NOT_EXECUTED:
        return Reason(slug="wrong_private_nonce", detail=f"PMT {receipt.pmt_hash} was rejected before execution")
    # Told only by nodes with --revert-reason-enabled; who owns a group is asked before
    # (docs/besu.md#looking-before-leaping, 1).
    if receipt.revert_data and b"Origin not the owner." in receipt.revert_data:
        return Reason(slug="not_owner", detail=f"PMT {receipt.pmt_hash} was reverted")
    return Reason(slug="execution_refused", detail=f"PMT {receipt.pmt_hash} failed in block {receipt.block_number}")
