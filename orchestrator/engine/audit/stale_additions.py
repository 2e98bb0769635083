"""Additions that some members executed and others refused: by the roots of who did, or by private receipts."""

from collections.abc import Mapping

from orchestrator.engine.audit.lone_additions import lone_addition
from orchestrator.engine.history.members import SeenMember
from orchestrator.engine.history.roots import NodeRoots
from orchestrator.membership.damage.findings import Damage, DamageFinding, Return, returns

LOOKED_BACK = 256
"""Blocks before an addition in which a root that came back is looked for."""
MOST_ADDITIONS = 8
"""The newest additions to a group before which that is done."""


async def stale_additions(
    roots: NodeRoots, group: str, at: int, members: Mapping[str, SeenMember], *, differs: bool
) -> list[DamageFinding]:
    """Return which members' nodes sent an addition too late, where their roots show it.

    On such a node the root went, and came back to the lock's before the addition (docs/besu.md#stale-bundles, 8).

    Args:
        roots: Reads roots.
        group: The group.
        at: The newest block that counts.
        members: By enclave key the members' nodes.
        differs: Whether members differ now.

    Raises:
        NodeError: A node does not answer.
    """
    findings = []
    for key, member in members.items():
        logs = (log for log in member.record.logs if log.privacy_group_id == group and log.added)
        # It shows before an addition, if at all (docs/besu.md#stale-bundles, 8).
        for block in sorted({log.block_number for log in logs})[-MOST_ADDITIONS:]:
            back = await _return_before(roots, group, member, min(block, at))
            # Replays of other groups make roots alternate as well; what they do to bundles is told by these.
            others = (replay for replay in member.record.replays if replay.privacy_group_id != group)
            if back is None or any(r.at_block is None or r.at_block > back.back_at for r in others):
                continue
            findings.append(
                DamageFinding(
                    damage=Damage.SPLIT if differs else Damage.STALE,
                    detail=f"its root changed in block {back.left_at}, was the earlier one again at block "
                    f"{back.back_at}, and an addition followed in block {block}",
                    privacy_group_id=group,
                    members=(key,),
                    node=member.watcher.node.name,
                    block_number=block,
                )
            )
            break
    return findings


async def executed_alone(group: str, members: Mapping[str, SeenMember]) -> list[DamageFinding]:
    """Return which members' nodes executed a copied addition that others refused, by what each says of its marker.

    Roots don't show it where the blocks before the addition kept theirs (docs/besu.md#stale-bundles, 6).

    Args:
        group: The group.
        members: By enclave key the members' nodes.

    Raises:
        NodeError: A node does not answer.
    """
    listed = {
        key: {log.block_number for log in member.record.logs if log.privacy_group_id == group and log.added}
        for key, member in members.items()
    }
    found = await lone_addition({key: member.watcher.node for key, member in members.items()}, listed)
    if found is None:
        return []
    refused = ", ".join(members[key].watcher.node.name for key in found.refused)
    return [
        DamageFinding(
            damage=Damage.SPLIT,
            detail=f"it executed the copied addition {found.pmt_hash}, which {refused} refused",
            privacy_group_id=group,
            members=(key,),
            node=members[key].watcher.node.name,
            block_number=found.block_number,
        )
        for key in found.executed
    ]


async def _return_before(roots: NodeRoots, group: str, member: SeenMember, block: int) -> Return | None:
    numbers = range(max(block - LOOKED_BACK, 0), block + 1)
    seen = await roots.read(member.watcher, group, numbers, member.record.replays)
    found = returns([(number, seen[number]) for number in numbers]) if seen is not None else ()
    return next((back for back in found if back.until in (None, block)), None)
