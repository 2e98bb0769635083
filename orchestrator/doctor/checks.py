"""The table of all checks of an inspection: slug and question, in the order in which findings are shown. Pure.

What is found, its consequence and its remedy depend on what was seen, and are said where it is judged. Each check has
a section of its slug and question in docs/operations.md.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Check:
    """One check.

    Attributes:
        slug: Its name, which stays: monitoring matches it.
        question: What it asks, for a person.
    """

    slug: str
    question: str

    @property
    def documentation(self) -> str:
        """Where it is explained."""
        return f"docs/operations.md#{self.slug}"


TABLE: Final = (
    Check("reachable", "Does the node answer?"),
    Check("batches", "Does it take several requests at once?"),
    Check("chain-id", "Which chain is it on?"),
    Check("version", "Which version of Besu is it?"),
    Check("api-groups", "Are the needed methods enabled?"),
    Check("distribution", "Does it take transactions whose marker is the daemon's own?"),
    Check("enclave-key", "Does the node act as the member that the configuration says?"),
    Check("subscriptions", "Do new blocks come over its WebSocket?"),
    Check("websocket-node", "Is the WebSocket that of the same node?"),
    Check("flexible-groups", "Are flexible privacy groups on?"),
    Check("offchain-methods", "Are offchain privacy groups off?"),
    Check("find-method", "By which method does it find groups?"),
    Check("group-dialect", "Can this version extend the groups that the node has?"),
    Check("receives-groups", "Does this version keep the groups that its node is added to?"),
    Check("unpriced-sends", "Is what applications send through it mined?"),
    Check("peers", "Is it connected to other nodes?"),
    Check("head-age", "Is its newest block new?"),
    Check("clock-skew", "Do clocks agree?"),
    Check("sync", "Is it in sync, by its own word?"),
    Check("stands-still", "Does it move while others move?"),
    Check("gas-price", "Is the configured gas price enough?"),
    Check("pmt-key", "Does it sign markers with a fixed key?"),
    Check("enclave", "Is its enclave up?"),
    Check("enclave-host", "Is it the enclave of this node?"),
    Check("offchain-groups", "Does the enclave keep offchain groups?"),
    Check("same-chain", "Are all nodes on one chain?"),
    Check("chain-before", "Is each on the chain that it was on before?"),
    Check("mixed-versions", "Do all run the same version?"),
    Check("head-spread", "Are all near the newest block?"),
    Check("account-key", "Do the accounts sign?"),
    Check("owned-groups", "What do the accounts own?"),
    Check("store", "Does the database answer?"),
    Check("store-clock", "Does the database's clock agree with this machine's?"),
    Check("store-size", "Does the store stay small?"),
    Check("archive", "Can the archive of old changes be written?"),
    Check("restored", "Was the store set back to a backup?"),
    Check("queue", "Are the message queues there?"),
    Check("events", "Can status events be published?"),
    Check("message-limit", "How large may a message be?"),
    Check("neighbours", "Does another store publish events where ours go?"),
    Check("secrets", "Are secrets readable by the daemon, and by nobody else?"),
    Check("disk", "Is there room?"),
    Check("account-twice", "Do accounts send twice in a block, just now?"),
    Check("replayable-blocks", "Did accounts send twice in a block, since the daemon watches?"),
    Check("extendable-groups", "Which groups can't be extended any more, and since when?"),
    Check("repeated-additions", "Was an old addition sent again?"),
    Check("early-access", "What is to be known of flexible groups?"),
    Check("enclave-log", "Which lines in the enclaves' logs are harmless?"),
)
"""Every check."""

DOCUMENTATION: Final = {check.slug: check.documentation for check in TABLE}
"""Where each check is explained, by its slug."""

CHECKS: Final = tuple(check.slug for check in TABLE)
"""The slugs of all checks."""
