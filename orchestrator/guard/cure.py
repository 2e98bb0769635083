"""Curing a group that a repeated marker split: through a member that did not fall back, the others go and come again.

Source: docs/besu.md#stale-bundles, the cures. A node that fell back executed the addition in the block of the
repetition, as none of the others did. So its newest transaction is in no history of theirs, and it replays the whole of
that, as a new member does.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from orchestrator.besu.errors import BesuError
from orchestrator.besu.group_changes import GroupChangeError
from orchestrator.besu.groups import FlexiblePrivacyGroups
from orchestrator.engine.fleet import Fleet
from orchestrator.engine.history.forecaster import Forecaster, Question
from orchestrator.engine.history.ports import HistoryStore
from orchestrator.engine.node_ports import NodeError
from orchestrator.engine.ports import Clock
from orchestrator.engine.watcher import ChainWatcher
from orchestrator.membership.model import GroupView

LOOK_AGAIN_SECONDS: Final = 0.5


class CureError(Exception):
    """The group can't be cured this way; nothing was changed unless the message says what was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CurePlan:
    """What is to be done.

    Attributes:
        privacy_group_id: The group.
        block_number: The block of the repetition.
        fallen: By node's name the members that fell back.
        through: The node of a member that did not.
        view: The group as that node has it.
    """

    privacy_group_id: str
    block_number: int
    fallen: Mapping[str, str]
    through: ChainWatcher
    view: GroupView


async def planned_cure(fleet: Fleet, privacy_group_id: str, pmt_hash: str, store: HistoryStore) -> CurePlan:
    """Look who executed a repeated marker and who refused it, and whether those may come back.

    Args:
        fleet: The members' nodes.
        privacy_group_id: The group.
        pmt_hash: The repetition: the transaction in which the marker was mined again.
        store: Keeps what is read of histories.

    Raises:
        CureError: Nobody fell back, nobody who did not is seen, or coming back would do harm.
        NodeError: A node that is needed does not answer.
    """
    fallen, well, number = {}, [], 0
    for watcher in fleet.watchers:
        (outcome,) = await watcher.node.outcomes([pmt_hash])
        if outcome.executed is None or outcome.block_number is None:
            continue
        view = await watcher.node.view(privacy_group_id, (await watcher.refresh()).number)
        if not view.exists:
            continue
        number = outcome.block_number
        if outcome.executed:
            fallen[watcher.node.name] = watcher.node.enclave_keys[0]
        elif watcher.node.enclave_keys[0] in view.participants:
            well.append((watcher, view))
    if not fallen:
        raise CureError(f"no node that can be seen executed transaction {pmt_hash} in group {privacy_group_id}")
    if not well:
        raise CureError("no member's node that refused it can be seen: nobody shows what the group should be")
    through, view = well[0]
    question = Question(
        privacy_group_id=privacy_group_id,
        to_add=tuple(fallen.values()),
        participants=view.participants,
        leaving=tuple(fallen.values()),
        senders=(through.node.enclave_keys[0],),
    )
    found = await Forecaster(fleet, store).forecast(question)
    # That their state is none that the group ever had is what they fell back to, and is replayed over as a whole.
    others = [danger.reason for danger in found.dangers if danger.reason.slug != "former_member_unsafe"]
    if others:
        raise CureError(f"adding them again would do harm: {others[0].slug.replace('_', ' ')}: {others[0].detail}")
    return CurePlan(privacy_group_id=privacy_group_id, block_number=number, fallen=fallen, through=through, view=view)


async def carry_out(plan: CurePlan, groups: FlexiblePrivacyGroups, tell: Callable[[str], None]) -> None:
    """Remove the members that fell back and add them again in one call.

    Args:
        plan: What is to be done.
        groups: The group's owner, sending through the plan's node.
        tell: Told each step.

    Raises:
        CureError: A step failed; the message says which were done.
    """
    done: list[str] = []
    group, members = plan.privacy_group_id, list(plan.fallen.values())
    try:
        for member in members:
            if member in plan.view.participants:
                await groups.remove(group, member)
                done.append(f"removed {member}")
                tell(done[-1])
        receipt = await groups.add(group, members)
        done.append(
            f"added {', '.join(members)}" + (f" in block {receipt.block_number}" if receipt is not None else "")
        )
        tell(done[-1])
    except (BesuError, GroupChangeError) as error:
        raise CureError(f"{error} ({'; '.join(done) or 'nothing was changed'})") from error


async def agreeing(fleet: Fleet, plan: CurePlan, seconds: float, clock: Clock) -> bool:
    """Wait until the members show one state of the group, at a block that all have; tells whether they did.

    Args:
        fleet: The members' nodes.
        plan: What was done.
        seconds: Wait at most so long.
        clock: Time.
    """
    watchers = [plan.through, *(fleet.named(name) for name in plan.fallen)]
    start = (await plan.through.refresh()).number

    async def agree() -> None:
        while not await _agree(watchers, plan.privacy_group_id, start):
            await clock.sleep(LOOK_AGAIN_SECONDS)

    try:
        await clock.wait_for(agree(), seconds)
    except TimeoutError:
        return False
    return True


async def _agree(watchers: list[ChainWatcher], group: str, start: int) -> bool:
    try:
        heads = [(await watcher.refresh()).number for watcher in watchers]
        at = min(heads)
        views = [(await watcher.node.roots(group, [at]))[0] for watcher in watchers]
    except NodeError:
        return False
    return at >= start and all(view.exists for view in views) and len({view.state_root for view in views}) == 1
