"""Which groups the nodes hold, whoever is a member of them, and what the nodes went through."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from orchestrator.engine.history.members import SeenMember
from orchestrator.engine.history.replays import NodeReplays, held_groups
from orchestrator.engine.nodes.fleet import Fleet
from orchestrator.engine.nodes.watcher import ChainWatcher
from orchestrator.engine.ports.nodes import NodeError
from orchestrator.membership.damage.findings import Damage, DamageFinding
from orchestrator.membership.heads import BEHIND_BLOCKS


@dataclass(slots=True)
class Holdings:
    """The nodes at the block at which all is compared.

    Attributes:
        at: That block.
        seen: By name each node with its head and what it went through.
        listings: By group and enclave key the members that the key's node lists; only of nodes that hold the group.
        standing_still: Nodes that are far behind.
    """

    at: int = 0
    seen: dict[str, SeenMember] = field(default_factory=dict)
    listings: dict[str, dict[str, tuple[str, ...]]] = field(default_factory=dict)
    standing_still: list[DamageFinding] = field(default_factory=list)


async def read_holdings(
    fleet: Fleet, replays: NodeReplays, known_groups: Iterable[str], skipped: dict[str, str]
) -> Holdings:
    """Return what the nodes hold.

    Args:
        fleet: The nodes.
        replays: Reads what they went through.
        known_groups: Ids of groups that are known otherwise: a tenant is not told of all.
        skipped: By node, why it was not looked at; filled in.

    Raises:
        StoreError: What is kept can't be read or written.
    """
    heads: dict[str, int] = {}
    for watcher in fleet.watchers:
        try:
            heads[watcher.node.name] = (await watcher.current()).number
        except NodeError as error:
            skipped[watcher.node.name] = str(error)
    found = Holdings()
    newest = max(heads.values(), default=0)
    for name in [name for name, number in heads.items() if newest - number > BEHIND_BLOCKS]:
        skipped[name] = f"it is at block {heads[name]}, the newest is {newest}"
        found.standing_still.append(
            DamageFinding(
                damage=Damage.STANDS_STILL,
                detail=skipped[name],
                node=name,
                members=fleet.named(name).node.enclave_keys,
                block_number=heads.pop(name),
            )
        )
    # At one block that all of them have; those far behind would take it into the past, and are told instead.
    found.at = min(heads.values(), default=0)
    groups = tuple(known_groups)
    for name in heads:
        try:
            await _add_node(found, fleet.named(name), replays, groups)
        except NodeError as error:
            skipped[name] = str(error)
    return found


async def _add_node(found: Holdings, watcher: ChainWatcher, replays: NodeReplays, known: tuple[str, ...]) -> None:
    node, head = watcher.node, await watcher.current()
    record = await replays.of(watcher, head)
    held, _ = await held_groups(node)
    others = [group for group in known if group not in held]
    views = await node.roots_of(others, found.at) if others else ()
    for group, view in zip(others, views, strict=True):
        if view.exists:
            held[group] = (await node.view(group, found.at)).participants
    key = node.enclave_keys[0]
    found.seen[node.name] = SeenMember(enclave_key=key, watcher=watcher, head=head, record=record)
    for group, members in held.items():
        # By key, since a member is a key; all keys of a node share what it holds (docs/besu.md#multi-tenancy, 5).
        for hosted in node.enclave_keys:
            found.listings.setdefault(group, {})[hosted] = members
