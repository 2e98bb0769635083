"""Finding out whether enclaves take anything, without the group that it is for and without a lock.

A sounding is a signed creation of a group that nobody has, of the members in question, that is handed to their
enclaves and gets no marker: it says nothing of any history, can't be mined, and tells what the enclaves would answer to
a small transaction now. Nodes have no method that tells (docs/besu.md#enclaves-that-fail, #tessera).
"""

import base64
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from orchestrator.engine.nodes.watcher import ChainWatcher
from orchestrator.engine.ports.nodes import Contract, NodeError
from orchestrator.engine.ports.signers import Signers
from orchestrator.membership.attempt import Action
from orchestrator.membership.reasons.table import Reason

UNKNOWN_RECIPIENT = frozenset({"enclave_key_unknown", "enclave_recipient_away"})
"""Reasons of an enclave that does not know who hosts a key."""

IN_DOUBT = frozenset({"enclave_unreachable", "enclave_recipient_away", "enclave_error", "bundle_not_taken"})
"""Reasons after which the enclaves are sounded before a group is locked again."""


@dataclass(frozen=True, slots=True)
class Sounding:
    """Sounds enclaves.

    Attributes:
        signers: The accounts.
        contract: The management contract's codec.
        new_id: Makes unique ids.
    """

    signers: Signers
    contract: Contract
    new_id: Callable[[], str]

    async def trouble(self, watcher: ChainWatcher, account: str, members: Sequence[str]) -> Reason | None:
        """Return why an enclave of some members can't be reached from a node's; None when all took the sounding.

        Args:
            watcher: The node.
            account: Signs it.
            members: The members, that which the node sends from first.

        Raises:
            NodeError: The node could not be asked: that says nothing of enclaves.
        """
        traits = await watcher.node.traits()
        group = base64.b64encode(hashlib.sha256(f"sounding {self.new_id()}".encode()).digest()).decode("ascii")
        raw = await self.signers.sign(
            account=account,
            chain_id=traits.chain_id,
            private_nonce=0,
            privacy_group_id=group,
            private_from=members[0],
            payload=self.contract.payload(Action.CREATE, members, traits.native_abi),
        )
        try:
            await watcher.node.distribute(raw)
        except NodeError as error:
            if error.reason.slug in IN_DOUBT | UNKNOWN_RECIPIENT:
                return error.reason
            raise
        return None
