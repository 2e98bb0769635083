"""Reading what a cure rests on: which nodes executed a stale addition, which refused it, and where those went on."""

import asyncio
from collections.abc import Iterable, Sequence

from orchestrator.engine.nodes.fleet import Fleet
from orchestrator.engine.nodes.watcher import ChainWatcher
from orchestrator.engine.ports.nodes import NodeError
from orchestrator.membership.cure import MOST_BLOCKS, SLUG, Split, Witness, own_way_trouble, split_of
from orchestrator.membership.forecast.histories import GroupHistory
from orchestrator.membership.model import Change
from orchestrator.membership.reasons.table import Reason


async def split_before(fleet: Fleet, change: Change) -> Split | None:
    """Return the split that a change is to cure; None for a change that cures nothing.

    Args:
        fleet: The nodes.
        change: The change in preflight.

    Raises:
        NodeError: It does not fit, or a node that is needed does not answer.
    """
    if change.repair is None or not change.repair.stale_pmt:
        return None
    pmt_hash = change.repair.stale_pmt
    said = await _of_members(fleet, change.privacy_group_id, change.members, pmt_hash)
    unseen = {watcher.node.name: one.reason.detail for watcher, one in said.items() if isinstance(one, NodeError)}
    witnesses = [one for one in said.values() if isinstance(one, Witness)]
    found = split_of(pmt_hash, change.members, witnesses, unseen)
    if isinstance(found, Reason):
        raise NodeError(found)
    await _require_addition(fleet, found)
    return found


async def way_trouble(watcher: ChainWatcher, history: GroupHistory, pmt_hash: str) -> str | None:
    """Return why a node that fell back would not replay the group's whole history; None when it would.

    Args:
        watcher: Its node.
        history: The group's blocks, as a member has them that did not fall back.
        pmt_hash: The stale addition's marker.

    Raises:
        NodeError: It does not answer.
    """
    (outcome,) = await watcher.node.outcomes([pmt_hash])
    if not outcome.executed or outcome.block_number is None:
        return "it did not execute the stale addition"
    head, first = (await watcher.current()).number, outcome.block_number
    if head - first > MOST_BLOCKS:
        return f"it executed the stale addition in block {first}, more than {MOST_BLOCKS} blocks ago"
    # With the block before: from its state on the node went a way of its own.
    numbers = range(first - 1, head + 1)
    views = await watcher.node.roots(history.privacy_group_id, numbers)
    roots = {view.block_number: view.state_root if view.exists else "" for view in views}
    changed = [number for number in numbers[1:] if roots.get(number) != roots.get(number - 1)]
    return own_way_trouble(history, first, roots, await _executing(watcher, changed))


async def _executing(watcher: ChainWatcher, numbers: Sequence[int]) -> list[int]:
    """Return which of some blocks hold a private transaction that the node says it executed."""
    found = []
    for block in await watcher.node.blocks(numbers) if numbers else ():
        content = block.content.transactions if block.content is not None else ()
        markers = [item.transaction_hash for item in content if item.marker]
        # Any private transaction of the block: which group a marker is of, its receipt does not say.
        if markers and any(outcome.executed for outcome in await watcher.node.outcomes(markers)):
            found.append(block.number)
    return found


async def _of_members(
    fleet: Fleet, privacy_group_id: str, members: Iterable[str], pmt_hash: str
) -> dict[ChainWatcher, Witness | NodeError]:
    """Ask the nodes of the members that are named, then of those whom they list, and so on.

    Nobody else: any node can say that it executed what it never saw, or that it refused it.
    """
    said: dict[ChainWatcher, Witness | NodeError] = {}
    asked = _hosts(fleet, members)
    while asked:
        found = await asyncio.gather(*(_witness(watcher, privacy_group_id, pmt_hash) for watcher in asked))
        said |= zip(asked, found, strict=True)
        listed = [key for one in found if isinstance(one, Witness) for key in one.participants]
        asked = [watcher for watcher in _hosts(fleet, listed) if watcher not in said]
    return said


def _hosts(fleet: Fleet, keys: Iterable[str]) -> list[ChainWatcher]:
    return list(dict.fromkeys(watcher for key in keys if (watcher := fleet.hosting(key)) is not None))


async def _witness(watcher: ChainWatcher, privacy_group_id: str, pmt_hash: str) -> Witness | NodeError:
    try:
        (outcome,) = await watcher.node.outcomes([pmt_hash])
        view = await watcher.node.view(privacy_group_id, (await watcher.current()).number)
        number = outcome.block_number if outcome.executed else None
        logs = await watcher.node.memberships([privacy_group_id], number, number) if number is not None else ()
    except NodeError as error:
        return error
    return Witness(
        node=watcher.node.name,
        enclave_keys=watcher.node.enclave_keys,
        executed=outcome.executed,
        block_number=outcome.block_number,
        participants=view.participants if view.exists else (),
        new=any(log.added and log.member in watcher.node.enclave_keys for log in logs),
    )


async def _require_addition(fleet: Fleet, split: Split) -> None:
    """Only an addition's marker brings a bundle: what else sets members apart needs another remedy."""
    watcher = next(w for w in fleet.watchers if not split.well.isdisjoint(w.node.enclave_keys))
    (block,) = await watcher.node.blocks([split.block_number])
    seen = block.content.transactions if block.content is not None else ()
    if not any(item.addition and item.transaction_hash == split.pmt_hash for item in seen):
        detail = f"block {split.block_number} has no addition's marker {split.pmt_hash}"
        raise NodeError(Reason(slug=SLUG, detail=detail))
