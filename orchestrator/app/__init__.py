"""Composition root: from a configuration to a running daemon. The only package that knows every adapter.

Here the parts get their configuration, secrets, sockets and metrics, and start and stop in their order. What they do
is theirs: a decision about a change, a node or a message is a fault in this package. The guard before an enclave is a
process of its own (`orchestrator.guard`).
"""

from orchestrator.app.assembly import assembled
from orchestrator.app.configured.accounts import AccountError, opened_account
from orchestrator.app.configured.secret_texts import store_url
from orchestrator.app.daemon import broker_access, broker_names, run_daemon

__all__ = [
    "AccountError",
    "assembled",
    "broker_access",
    "broker_names",
    "opened_account",
    "run_daemon",
    "store_url",
]
