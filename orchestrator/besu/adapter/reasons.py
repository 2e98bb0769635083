"""What a node's failure means in the words of the rules. Pure."""

from typing import Final

from orchestrator.besu.errors import (
    BesuError,
    HostNotAllowedError,
    MethodNotEnabledError,
    MethodNotFoundError,
    PrivacyDisabledError,
    UnauthorizedError,
    VersionUnknownError,
)
from orchestrator.engine.ports.nodes import NodeError, Said
from orchestrator.membership.reasons.judgements import Judgement
from orchestrator.membership.reasons.table import RULES, Reason

SLUGS: Final = {
    "node_unreachable": "node_unreachable",
    "node_timeout": "node_unreachable",
    "connection_lost": "node_unreachable",
    "host_not_allowed": "host_not_allowed",
    "credentials_unavailable": "credentials_unavailable",
    "credentials_refused": "credentials_refused",
    "http_status": "node_error",
    "bad_answer": "node_error",
    "batch_refused": "node_error",
    "not_known": "not_known_here",
    "version_unknown": "version_unknown",
    "besu_error": "node_error",
    "rpc_error": "node_error",
    "unauthorized": "unauthorized",
    "method_not_found": "node_unsuitable",
    "method_not_enabled": "node_unsuitable",
    "privacy_disabled": "node_unsuitable",
    "invalid_params": "node_error",
    # Null and "not found" are what a replica says that is a block late.
    "not_found": "not_known_here",
    "limit_exceeded": "node_error",
    "batch_too_large": "node_error",
    "node_not_ready": "node_behind",
    "node_internal": "node_error",
    "transaction_refused": "transaction_rejected",
    # Of a private transaction; of a marker it is another nonce, see `_OF_MARKERS`.
    "nonce_too_low": "private_nonce_used",
    "wrong_chain_id": "wrong_chain_id",
    "balance": "marker_account_refused",
    "account_not_permitted": "marker_account_refused",
    "gas_limit": "transaction_rejected",
    "intrinsic_gas": "transaction_rejected",
    # No price is ours to choose where accounts pay: a person has to fund or permit one (docs/besu.md#markers, 15).
    "gas_price": "marker_account_refused",
    "marker_pool": "node_error",
    "marker_outbid": "node_error",
    "marker_known": "node_error",
    "execution_reverted": "execution_refused",
    "not_owner": "not_owner",
    "group_unknown": "group_unknown",
    "enclave_error": "enclave_error",
    "enclave_unreachable": "enclave_unreachable",
    "enclave_key_unknown": "enclave_key_unknown",
    "enclave_recipient_away": "enclave_recipient_away",
    # Private-from is the sending node's own key: another node hosts it, so that this one can't send for it.
    "enclave_key_not_hosted": "sender_not_member",
    "unrelated": "node_error",
    "unknown_rpc_error": "node_error",
}
"""The client library's `BesuError.reason` → key of `orchestrator.membership.reasons.table.RULES`."""

_OF_DISTRIBUTION: Final = {
    "method_not_found": "distribution_unavailable",
    "method_not_enabled": "distribution_unavailable",
}
_OF_MARKERS: Final = {
    "nonce_too_low": "marker_nonce_used",
    "marker_outbid": "marker_outbid",
    "gas_limit": "marker_gas_refused",
    "intrinsic_gas": "marker_gas_refused",
}
_WILL_NOT_TELL: Final = (
    UnauthorizedError,
    MethodNotFoundError,
    MethodNotEnabledError,
    PrivacyDisabledError,
    HostNotAllowedError,
    VersionUnknownError,
)


def read_failure(error: BesuError, node: str) -> NodeError:
    """Return what a read that gave no value means.

    No failure of a read says anything about what was asked: an error about the group, too, is what a late replica or
    a failing enclave answers for a group that exists. So it is asked again, unless the node will not tell before a
    person acts.
    """
    reason = reason_of(error, node)
    if isinstance(error, _WILL_NOT_TELL):
        return NodeError(reason, Said.REFUSED)
    if RULES[reason.slug].judgement is Judgement.TERMINAL:
        reason = Reason(slug="not_known_here", detail=reason.detail)
    return NodeError(reason, Said.NOT_KNOWN)


def send_failure(error: BesuError, node: str) -> NodeError:
    """Return what it means that a send did not end with a PMT's hash."""
    return NodeError(reason_of(error, node), _said_to_a_send(error))


def distribution_failure(error: BesuError, node: str) -> NodeError:
    """Return what it means that a private transaction was not distributed."""
    return NodeError(_reason(error, node, _OF_DISTRIBUTION), _said_to_a_send(error))


def marker_failure(error: BesuError, node: str) -> NodeError:
    """Return what it means that a pool did not take a marker of ours, or its burn."""
    return NodeError(_reason(error, node, _OF_MARKERS), _said_to_a_send(error))


def reason_of(error: BesuError, node: str) -> Reason:
    """Return why a node failed, for the rules and for a person.

    Args:
        error: What the client library raised.
        node: The node's name.
    """
    return _reason(error, node, {})


def _reason(error: BesuError, node: str, special: dict[str, str]) -> Reason:
    return Reason(slug=special.get(error.reason, SLUGS[error.reason]), detail=f"node {node}: {error}")


def _said_to_a_send(error: BesuError) -> Said:
    # A time-out, or a connection that broke, may have come after the node did it: read as a no it would be sent twice
    # (docs/besu.md#stale-bundles, 2).
    return Said.REFUSED if error.certain else Said.PERHAPS_DONE
