"""Composition root: from a configuration to a running daemon. The only package that knows every adapter."""

from orchestrator.app.assembly import AccountError, assembled, open_account, tls_context
from orchestrator.app.daemon import broker_access, broker_names, run_daemon
from orchestrator.app.secret_texts import store_url

__all__ = [
    "AccountError",
    "assembled",
    "broker_access",
    "broker_names",
    "open_account",
    "run_daemon",
    "store_url",
    "tls_context",
]
