"""What really happened to a group, read from the emulated nodes past everything under test."""

import base64
from collections.abc import Sequence

from orchestrator.besu.codec.private_transaction import decode_private_transaction
from orchestrator.devnet import Devnet
from orchestrator.devnet.private.head_maps import GroupTimeline

_ACTIONS = {"f83d08ba": "lock", "a69df4b5": "unlock", "965a25ef": "add", "1f52a8ee": "remove"}
"""By selector (docs/besu.md#versions)."""


def timeline(devnet: Devnet, group: str, node: int) -> GroupTimeline:
    """Return a group's history on a node (from 1); an empty one when the node has none."""
    return devnet.emulation.network.nodes[node - 1].timelines.get(base64.b64decode(group), GroupTimeline())


def actions(devnet: Devnet, group: str, node: int = 1) -> tuple[str, ...]:
    """Return the group's effective transactions, oldest first: create, lock, add, unlock, remove."""
    found = [
        _ACTIONS[decode_private_transaction(record.signed.raw).transaction.data[:4].hex()]
        for record in timeline(devnet, group, node).records
    ]
    return ("create", *found[1:]) if found else ()


def participants(devnet: Devnet, group: str, node: int = 1) -> tuple[str, ...]:
    """Return the enclave keys of the group's members; none when the node has no such group."""
    records = timeline(devnet, group, node).records
    return tuple(records[-1].state.contract.participants) if records else ()


def is_locked(devnet: Devnet, group: str, node: int = 1) -> bool:
    """Whether the group is locked."""
    records = timeline(devnet, group, node).records
    return bool(records) and not records[-1].state.contract.can_execute


def is_level(devnet: Devnet) -> bool:
    """Whether all nodes are at the same block and none replays or is halted."""
    nodes = devnet.emulation.network.nodes
    return all(node.head.hash == nodes[0].head.hash and node.replaying is None for node in nodes)


def roots(devnet: Devnet, group: str, nodes: Sequence[int]) -> set[bytes]:
    """Return the group's different state roots on some nodes (from 1): one when they agree."""
    found = [timeline(devnet, group, node).records for node in nodes]
    return {records[-1].state.root if records else b"" for records in found}


def has_parted(devnet: Devnet, group: str) -> bool:
    """Whether the last node, which comes and goes, really has another state than the others.

    A reorganisation may put the lock and the addition into one block. Then the new member's node finds no lock in the
    history before that block, and refuses the addition that the others execute.
    """
    everybody = range(1, len(devnet.nodes) + 1)
    return is_level(devnet) and len(roots(devnet, group, everybody)) > 1


def private_nonce(devnet: Devnet, group: str, account: str, node: int = 1) -> int:
    """Return an account's private nonce in a group, as the node keeps it."""
    records = timeline(devnet, group, node).records
    return records[-1].state.private_nonces.get(account.lower(), 0) if records else 0
