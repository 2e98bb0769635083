"""What blocks hold, as the forecast reads it."""

from typing import Any

from orchestrator.membership.forecast.blocks import PRIVACY_PRECOMPILE, PublicTransaction

ADDITION_BYTES = 64
"""What a marker of an addition brings: two keys."""


def a_transaction(name: str, account: str, **fields: Any) -> PublicTransaction:
    """A transfer of nothing."""
    values: dict[str, Any] = {"to": "0x1", "value": 0, "gas_limit": 21_000, "gas_price": 0, "data_bytes": 0}
    return PublicTransaction(transaction_hash=name, sender=account, **values | fields)


def an_addition(name: str, account: str, **fields: Any) -> PublicTransaction:
    """A marker of an addition."""
    return a_transaction(name, account, **{"to": PRIVACY_PRECOMPILE, "data_bytes": ADDITION_BYTES} | fields)
