"""Looking before leaping: from what was surveyed to a plan, or the reason why there is none.

Source of the rules: docs/besu.md#versions, #looking-before-leaping, #how-members-silently-diverge.
"""

from dataclasses import replace

from orchestrator.membership.attempt import Action, AttemptStatus
from orchestrator.membership.besu_lines import LOSES_ADDED_GROUPS, dotted, has_bytes_abi, unlock_works
from orchestrator.membership.bundle_limits import exceeds, size_note
from orchestrator.membership.facts import MemberSurvey, Surveyed
from orchestrator.membership.heads import BEHIND_BLOCKS
from orchestrator.membership.key_lengths import unfit_keys
from orchestrator.membership.model import Change, Kind, Plan
from orchestrator.membership.reasons.table import Reason
from orchestrator.membership.repair import repair_trouble, to_be_repaired, to_be_withdrawn, withdraws


def plan_for(change: Change, seen: Surveyed) -> Plan | Reason:
    """Return what is to be done for a change, or why it can't be done now.

    Args:
        change: The change in preflight.
        seen: What was surveyed.
    """
    return (
        _node_trouble(seen)
        or (_creation_trouble(change, seen) if change.kind is Kind.CREATE_GROUP else _group_trouble(change, seen))
        or unfit_keys(_difference(change, seen)[0], seen.abi if seen.view.exists and seen.abi else seen.native_abi)
        or repair_trouble(change, seen)
        or _member_trouble(change, seen)
        or _replay_trouble(change, seen)
        or _enclave_trouble(change, seen)
        or _bundle_trouble(change, seen)
        or _plan(change, seen)
    )


def _node_trouble(seen: Surveyed) -> Reason | None:
    behind = seen.newest_head - seen.head
    if seen.syncing or behind > BEHIND_BLOCKS:
        detail = f"node {seen.node} is at block {seen.head}, the newest is {seen.newest_head}"
        return Reason(slug="node_behind", detail=detail)
    return None


def _creation_trouble(change: Change, seen: Surveyed) -> Reason | None:
    # With the same members it is our own, made before a crash. With others Besu would execute the creation as an
    # addition, if that group is locked (docs/besu.md#life-of-a-change, 10). Only what was seen to execute is our own
    # with others as well: a change that was parked behind it has let changes of the group pass.
    if seen.view.exists and set(seen.view.participants) != set(change.members) and not _has_created(change):
        return Reason(slug="group_exists", detail=f"with {len(seen.view.participants)} members")
    if seen.view.exists and seen.owner is False:
        return Reason(slug="group_exists", detail="it belongs to another account")
    if seen.sender_key not in change.members:
        return Reason(slug="sender_not_member", detail=f"node {seen.node} is none of the members")
    return None


def _has_created(change: Change) -> bool:
    attempt = change.attempt
    return attempt is not None and attempt.action is Action.CREATE and attempt.status is AttemptStatus.EFFECTIVE


def _group_trouble(change: Change, seen: Surveyed) -> Reason | None:
    if not seen.view.exists:
        return Reason(slug="group_unknown", detail=f"node {seen.node} has no such group")
    if seen.owner is False:
        return Reason(slug="not_owner", detail=f"{change.account} did not create the group")
    # A group keeps the code that it was made with: the dialect is read there, never from a node's version
    # (docs/besu.md#versions, 2 and 4).
    if seen.abi == "unusable" or seen.abi is None:
        return Reason(
            slug="contract_of_other_version", detail="its management contract is not one that Besu still runs"
        )
    to_add, to_remove = _difference(change, seen)
    # Nodes take for an addition only what has their own version's selector. Removals are executed in either dialect
    # (docs/besu.md#versions, 3).
    if to_add and seen.abi != seen.native_abi:
        detail = f"the contract speaks {seen.abi}[], Besu on {seen.node} adds only by {seen.native_abi}[]"
        return Reason(slug="contract_of_other_version", detail=detail)
    if seen.sender_key not in seen.view.participants:
        return Reason(slug="sender_not_member", detail=f"node {seen.node} is no member (any more)")
    if seen.sender_key in to_remove:
        detail = "the sending member can't remove itself through its own node; send through another member's node"
        return Reason(slug="would_empty_group", detail=detail, members=(seen.sender_key,))
    # A lock names no holder and never ends by itself: whether another client of the account is about to add under it
    # can't be seen (docs/besu.md#life-of-a-change, 9).
    if seen.view.locked and change.kind is not Kind.UNLOCK_GROUP and (to_add or to_remove):
        return Reason(slug="locked_by_other", detail=f"still locked at block {seen.view.block_number}")
    return None


def _member_trouble(change: Change, seen: Surveyed) -> Reason | None:
    to_add, _ = _difference(change, seen)
    mixed = _mixed_versions(seen, to_add) if to_add else None
    if mixed or change.kind is Kind.CREATE_GROUP:
        return mixed  # creation is received by every version; there is no state to be a prefix of
    surveys = {member.enclave_key: member for member in seen.members}
    for key in to_add:
        member = surveys.get(key)
        trouble = None if member is None or member.node is None else _harm(member, seen)
        if trouble:
            return trouble
    return None


def _replay_trouble(change: Change, seen: Surveyed) -> Reason | None:
    """What the new members' nodes would make of the group's history; others of the batch have their own to be told."""
    to_add, _ = _difference(change, seen)
    if not to_add or change.kind is Kind.CREATE_GROUP:
        return None
    if seen.forecast is None:
        # The forecast was made for those who were missing when the survey began: it says nothing of these.
        return Reason(slug="history_not_read", detail="members joined or left while the group was looked at")
    return seen.forecast.reason_for(frozenset(to_add))


def _enclave_trouble(change: Change, seen: Surveyed) -> Reason | None:
    """What is sent goes through the enclaves of all members, old and new: one that is down fails it after 5 s."""
    to_add, to_remove = _difference(change, seen)
    if not (to_add or to_remove or (change.kind is Kind.UNLOCK_GROUP and seen.view.locked)):
        return None
    concerned = [m for m in seen.members if m.enclave_key in {*to_add, *seen.view.participants}]
    troubles = {
        m.enclave_key: f"node {m.node or 'of others'}: {m.enclave_trouble}" for m in concerned if m.enclave_trouble
    }
    unheard = [m for m in concerned if m.unheard and m.enclave_key not in troubles]
    # A member's key was known once, and that of one of our nodes is hosted: such an enclave is away.
    away = [m for m in unheard if m.node is not None or m.enclave_key in seen.view.participants]
    troubles |= {m.enclave_key: f"the enclave of node {seen.node} knows nobody who hosts its key" for m in away}
    if troubles:
        return Reason(slug="enclave_unreachable", detail="; ".join(troubles.values()), members=tuple(troubles))
    if unheard:
        detail = f"the enclave of node {seen.node} knows nobody who hosts the key"
        return Reason(slug="enclave_recipient_away", detail=detail, members=tuple(m.enclave_key for m in unheard))
    return None


def _bundle_trouble(change: Change, seen: Surveyed) -> Reason | None:
    """An addition carries the group's whole history, and an enclave may take no value that is so large."""
    # Tessera answers a history that is too large as it answers for an enclave that is away: what the limit is can be
    # told only after a refusal (docs/besu.md#tessera).
    refused = change.reason is not None and change.reason.slug == "bundle_not_taken"
    limit = exceeds(seen.bundle, was_refused=refused)
    if seen.bundle is None or limit is None or not _difference(change, seen)[0]:
        return None
    whose = "nodes.bundle_limit_bytes" if seen.bundle.limit_bytes is not None else "Tessera on H2 2.1.210"
    return Reason(slug="bundle_too_large", detail=f"{limit:,} bytes is the limit ({whose}){size_note(seen.bundle)}")


def _mixed_versions(seen: Surveyed, to_add: tuple[str, ...]) -> Reason | None:
    """A node takes for an addition only what has its own version's selector: the others would not see this one."""
    # Members of both lines in one group never agree again about what an addition is (docs/besu.md#versions, 3).
    sender_line = has_bytes_abi(seen.besu_version)
    concerned = {*to_add, *seen.view.participants}
    known = [(m, m.besu_version) for m in seen.members if m.enclave_key in concerned and m.besu_version is not None]
    odd = [(member, version) for member, version in known if has_bytes_abi(version) is not sender_line]
    if not odd:
        return None
    names = ", ".join(f"{member.node} ({dotted(version)})" for member, version in odd)
    detail = f"node {seen.node} runs Besu {dotted(seen.besu_version)}, of another line than {names}"
    return Reason(slug="mixed_versions", detail=detail, members=tuple(member.enclave_key for member, _ in odd))


def _harm(member: MemberSurvey, seen: Surveyed) -> Reason | None:
    key = (member.enclave_key,)
    if member.head is None:
        return Reason(slug="node_unreachable", detail=f"the new member's node {member.node}", members=key)
    # A validator that checked the proposal processes the block a second time and is right then, any other node loses
    # the group; one that may be a validator counts as none (docs/besu.md#versions, 6).
    if member.besu_version == LOSES_ADDED_GROUPS and member.validator is not True:
        detail = f"node {member.node} runs Besu 25.5.0 and is no validator"
        return Reason(slug="member_would_not_receive", detail=detail, members=key)
    if member.of_another_group:
        detail = f"node {member.node} has a group of its own with this id, of which {member.enclave_key} is a member"
        return Reason(slug="group_id_taken", detail=detail, members=key)
    # It replays when its import comes to the addition's block: until then nothing is proven, and the group's next
    # change waits.
    if seen.newest_head - member.head > BEHIND_BLOCKS:
        detail = f"the new member's node {member.node} is at block {member.head} of {seen.newest_head}"
        return Reason(slug="node_behind", detail=detail, members=key)
    return None


def _difference(change: Change, seen: Surveyed) -> tuple[tuple[str, ...], tuple[str, ...]]:
    present = seen.view.participants if seen.view.exists else ()
    lost = to_be_repaired(change, seen)
    if change.kind is Kind.CURE_GROUP and not withdraws(change):
        return tuple(key for key in change.members if key in lost or key not in present), lost
    # Nothing else goes with a repair: the plan is the removal and the addition of the same members.
    if lost:
        return lost, lost
    if withdraws(change):
        return (), to_be_withdrawn(change, seen)
    match change.kind:
        case Kind.CREATE_GROUP:
            return (() if seen.view.exists else change.members), ()
        case Kind.ADD_MEMBERS | Kind.CURE_GROUP:
            return tuple(key for key in change.members if key not in present), ()
        case Kind.REMOVE_MEMBERS:
            return (), tuple(key for key in change.members if key in present)
        case Kind.SET_MEMBERS:
            to_add = tuple(key for key in change.members if key not in present)
            return to_add, tuple(key for key in present if key not in change.members)
        case Kind.UNLOCK_GROUP:
            return (), ()


def _plan(change: Change, seen: Surveyed) -> Plan:
    to_add, to_remove = _difference(change, seen)
    # The unlock is executed by every member's node: the oldest decides how it is done (docs/besu.md#versions, 5).
    versions = [seen.besu_version, *(m.besu_version for m in seen.members if m.besu_version is not None)]
    return Plan(
        node=seen.node,
        abi=seen.abi if seen.view.exists and seen.abi is not None else seen.native_abi,
        to_add=to_add,
        to_remove=to_remove,
        participants=seen.view.participants,
        version=seen.view.version,
        unlock_by_empty_add=not unlock_works(min(versions)),
        first_block=seen.head,
        last_block=seen.forecast.last_block if seen.forecast else 0,
        bundling_seconds=seen.bundling_seconds if to_add and seen.view.exists else None,
        replays=seen.forecast.replays if seen.forecast else (),
        vouched=tuple(v for v in seen.forecast.vouched if v.enclave_key in to_add) if seen.forecast else (),
        unforeseen=_unforeseen(to_add, seen),
    )


def plan_to_unlock(change: Change, seen: Surveyed, own_lock: int) -> Plan:
    """Return the plan to undo a lock of ours that came back after its change had ended, by a reorganisation.

    Args:
        change: The change that met it.
        seen: What was surveyed.
        own_lock: The lock's private nonce.
    """
    return replace(_plan(change, seen), to_add=(), to_remove=(), lock_nonce=own_lock)


def _unforeseen(to_add: tuple[str, ...], seen: Surveyed) -> tuple[str, ...]:
    if seen.forecast is None:
        return ()
    return tuple(key for key in to_add if any(unseen.enclave_key == key for unseen in seen.forecast.unseen))
