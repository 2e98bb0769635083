"""What is read of the members' nodes that could send."""

from collections.abc import Sequence

from orchestrator.engine.history.members import SeenMember
from orchestrator.engine.history.overlaps import with_blocks
from orchestrator.engine.history.roots import NodeRoots
from orchestrator.membership.forecast.histories import GroupHistory
from orchestrator.membership.forecast.senders import Bundle, SenderFacts, neighbours, roots_to_read, standing


class SenderReader:
    """Reads what the rule of the sender needs.

    Args:
        roots: Reads and remembers roots.
    """

    def __init__(self, roots: NodeRoots) -> None:
        self._roots = roots

    async def read(
        self, history: GroupHistory, candidates: Sequence[SeenMember], through: int
    ) -> tuple[SenderFacts, ...] | None:
        """Return facts of the candidates until one is good enough; None while more is to be read.

        Args:
            history: The group's blocks.
            candidates: In the order of preference.
            through: The block up to which a bundle would go.

        Raises:
            NodeError: A node does not answer.
        """
        # A node that never replayed anything needs no look at its roots.
        first_hand = [candidate for candidate in candidates if candidate.record.first_hand]
        if first_hand:
            return tuple(self._facts(candidate, through) for candidate in first_hand)
        found: list[SenderFacts] = []
        for candidate in candidates:
            facts = await self._whole_facts(history, candidate, through)
            if facts is None:
                return None
            found.append(facts)
            if standing(history, facts).bundle is Bundle.WHOLE:
                break
        return tuple(found)

    def _facts(self, candidate: SeenMember, through: int) -> SenderFacts:
        return SenderFacts(
            enclave_key=candidate.enclave_key,
            node=candidate.watcher.node.name,
            head=through,
            replays=candidate.record.replays,
            roots={},
            unseen=candidate.record.unseen,
        )

    async def _whole_facts(self, history: GroupHistory, candidate: SeenMember, through: int) -> SenderFacts | None:
        record, group = candidate.record, history.privacy_group_id
        others = [replay for replay in record.replays if replay.privacy_group_id != group]
        replays = await with_blocks(self._roots, candidate.watcher, others, neighbours(history, through))
        asked = roots_to_read(history, through)
        roots = await self._roots.read(candidate.watcher, group, asked, record.replays)
        if replays is None or roots is None:
            return None
        own = tuple(replay for replay in record.replays if replay.privacy_group_id == group)
        return SenderFacts(
            enclave_key=candidate.enclave_key,
            node=candidate.watcher.node.name,
            head=through,
            replays=(*own, *replays),
            roots=roots,
            unseen=record.unseen,
        )
