"""How long nodes took to bundle a group's history: an addition's send is not answered before, and the group is locked.

Bundling took 0.3 s at 300 transactions and 5 to 6 s at 6,000 (docs/besu.md#replay-measured). No method of Besu tells
it, and trying it out would hand the history to somebody who is no member yet; so the last addition tells it.
"""

from dataclasses import dataclass, field

from orchestrator.bounded_dicts import BoundedDict

MOST_GROUPS = 10_000


@dataclass(frozen=True, slots=True)
class BundlingBook:
    """What the last addition to each group took."""

    _known: BoundedDict[tuple[str, str], float] = field(default_factory=lambda: BoundedDict(MOST_GROUPS))

    def remember(self, node: str, privacy_group_id: str, seconds: float) -> None:
        """Keep what sending an addition took.

        Args:
            node: Name of the node.
            privacy_group_id: The group.
            seconds: From the send to its answer.
        """
        self._known[node, privacy_group_id] = seconds

    def last(self, node: str, privacy_group_id: str) -> float | None:
        """Return what the last addition to a group took, in seconds; None when this process has seen none."""
        return self._known.get((node, privacy_group_id))
