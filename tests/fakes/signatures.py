"""Signatures of development keys, made without an event loop."""

from eth_hash.auto import keccak

from orchestrator.besu.client.signers import LocalSigner
from orchestrator.besu.codec.account_signatures import sign_digest
from orchestrator.besu.codec.statements import statement_message


def signed_statement(text: bytes, signer: LocalSigner) -> bytes:
    """Return an account's signature of a statement."""
    return sign_digest(keccak(statement_message(text)), signer._private_key).statement_bytes()
