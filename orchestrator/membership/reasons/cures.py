"""Cures that were measured on real networks, in the words of every remedy that names them. Pure.

The facts are docs/besu.md#what-a-replay-needs and #enclaves-that-fail.
"""

from typing import Final

RESTART_ALL: Final = (
    "If two thirds of the validators run and all nodes stand at one block, the next one adds a member whose node can't "
    "import it and whose vote is needed: restart all nodes together, since only then their pools forget that addition; "
    "one alone does not help. The group stays locked: `orchestrator unlock`."
)
"""Of a chain that stands."""

DELETE_BOTH: Final = (
    "or delete Besu's data and the enclave's store of this one together, by which it loses the private data of all its "
    "groups. Besu's data alone does not help: it halts again."
)
"""Of a node that can't go on from the state that it has; after "add a key on another node;"."""

RESTART_BESU: Final = (
    "Restart this node's Besu: one whose enclave refused connections drops its peers, and may take none again when the "
    "enclave is back."
)
"""Of a node without peers."""
