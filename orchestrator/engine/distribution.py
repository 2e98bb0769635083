"""Distributing a private transaction to the enclaves of its recipients, and what it means when they are not known."""

from dataclasses import replace
from typing import Final

from orchestrator.engine.node_ports import NodeError
from orchestrator.engine.watcher import ChainWatcher
from orchestrator.membership.attempt import Action

NAMES_NEWCOMERS: Final = frozenset({Action.CREATE, Action.ADD})
"""What goes to enclaves that may never have been heard of."""

UNKNOWN_RECIPIENT: Final = frozenset({"enclave_key_unknown", "enclave_recipient_away"})
"""Reasons of an enclave that does not know who hosts a key."""


async def distribute(watcher: ChainWatcher, raw: bytes, action: Action) -> bytes:
    """Hand a signed private transaction to a node's enclave and those of the recipients; returns its payload key.

    Args:
        watcher: The node.
        raw: The signed bytes.
        action: Its intent.

    Raises:
        NodeError: It was not distributed. Where all recipients are members, whose keys were known once, an unknown key
            is an enclave that is away (docs/besu.md#tessera).
    """
    try:
        return await watcher.node.distribute(raw)
    except NodeError as error:
        if action in NAMES_NEWCOMERS or error.reason.slug not in UNKNOWN_RECIPIENT:
            raise
        raise NodeError(replace(error.reason, slug="enclave_unreachable"), error.said) from error
