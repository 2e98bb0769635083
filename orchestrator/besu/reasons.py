"""What a node's failure means in the words of the rules. Pure."""

from typing import Final

from orchestrator.besu.errors import BesuError
from orchestrator.membership.reasons import Reason

SLUGS: Final = {
    "node_unreachable": "node_unreachable",
    "node_timeout": "node_unreachable",
    "connection_lost": "node_unreachable",
    "http_status": "node_error",
    "bad_answer": "node_error",
    "besu_error": "node_error",
    "rpc_error": "node_error",
    "unauthorized": "unauthorized",
    "method_not_found": "node_unsuitable",
    "method_not_enabled": "node_unsuitable",
    "privacy_disabled": "node_unsuitable",
    "invalid_params": "node_error",
    "not_found": "node_error",
    "limit_exceeded": "node_error",
    "batch_too_large": "node_error",
    "node_not_ready": "node_behind",
    "node_internal": "node_error",
    "transaction_refused": "transaction_rejected",
    "nonce_too_low": "private_nonce_used",
    "wrong_chain_id": "wrong_chain_id",
    "balance": "transaction_rejected",
    "gas_limit": "transaction_rejected",
    "intrinsic_gas": "transaction_rejected",
    "gas_price": "transaction_rejected",
    "marker_pool": "node_error",
    "marker_known": "node_error",
    "execution_reverted": "execution_refused",
    "not_owner": "not_owner",
    "group_unknown": "group_unknown",
    "enclave_error": "enclave_error",
    "enclave_unreachable": "enclave_unreachable",
    "enclave_key_unknown": "enclave_key_unknown",
    "enclave_key_not_hosted": "sender_not_member",
    "unrelated": "node_error",
    "unknown_rpc_error": "node_error",
}
"""The client library's `BesuError.reason` → key of `orchestrator.membership.reasons.RULES`."""


def reason_of(error: BesuError, node: str) -> Reason:
    """Return why a node failed, for the rules and for a person.

    Args:
        error: What the client library raised.
        node: The node's name.
    """
    return Reason(slug=SLUGS[error.reason], detail=f"node {node}: {error}")
