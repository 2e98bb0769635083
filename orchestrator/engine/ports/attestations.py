"""What others say of their nodes, as proofs need it."""

from typing import Protocol

from orchestrator.membership.attestation.verdicts import SignedVerdict


class Attestations(Protocol):
    """What of `orchestrator.engine.attestation.peer_statements.VerdictBook` proofs use."""

    def expects(self, enclave_key: str) -> bool:
        """Return whether somebody is configured to speak for a member."""

    def newest(self, privacy_group_id: str, enclave_key: str) -> SignedVerdict | None:
        """Return the newest believed verdict about a member in a group."""
