"""What a deep audit finds: one table of findings, each with its severity, what repairs it and what must not be done.

Pure. The facts come from the readers of histories; the mechanisms are those of
docs/besu.md#how-replay-damages-other-groups and of the sections behind it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from orchestrator.membership.forecast.blocks import Examination, flaws_in_words
from orchestrator.membership.forecast.newcomers import Departure
from orchestrator.membership.forecast.senders import Bundle, SenderStanding
from orchestrator.membership.news.status import Json
from orchestrator.membership.reasons.cures import DELETE_BOTH


class Severity(StrEnum):
    """How bad a finding is, worst first."""

    DAMAGE = "damage"
    """Members do not have the same state, or a node does not import blocks."""
    DANGER = "danger"
    """All is well, and something that looks harmless would do damage."""
    NOTE = "note"
    """Worth knowing, or not seen."""


class Damage(StrEnum):
    """What was found, worst first."""

    UNDECIDED = "members_undecided"
    SPLIT = "group_split"
    BEYOND_REPAIR = "member_beyond_repair"
    DIFFERS = "member_differs"
    STANDS_STILL = "node_stands_still"
    NO_SENDER = "no_sender"
    UNEXTENDABLE = "unextendable"
    STALE = "stale_addition"
    TORN = "torn_bundle"
    FORMER_UNSAFE = "former_member_unsafe"
    FORMER = "held_without_membership"
    UNSEEN = "no_member_seen"
    UNREAD = "not_read"


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedy:
    """What to do about a finding; the texts name ``{node}``, ``{members}`` and ``{block}`` of it.

    Attributes:
        severity: How bad it is.
        repair: What repairs it; where nothing does, what helps.
        never: What must not be done; empty when nothing is forbidden.
    """

    severity: Severity
    repair: str
    never: str = ""


REMEDIES: dict[Damage, Remedy] = {
    Damage.UNDECIDED: Remedy(
        severity=Severity.DAMAGE,
        repair="Find out which of them is right: by the markers that one lacks a private receipt of, else from the "
        "application's last transactions. Then remove the wrong one through the right one's node.",
        never="Never remove or add any of {members} before that: the only right copy may be lost.",
    ),
    Damage.SPLIT: Remedy(
        severity=Severity.DAMAGE,
        repair="Through a member's node that never had that bundle (not {node}): remove the member of {node}, and the "
        "new member if that side lists it; lock, let a block pass, add both together.",
        never="Never take the larger side for the right one: sender and new member confirm each other. Never add "
        "through node {node}.",
    ),
    Damage.BEYOND_REPAIR: Remedy(
        severity=Severity.DAMAGE,
        repair=f"Remove the member through another member's node, and add a key that is hosted on another node; "
        f"{DELETE_BOTH} A node that dropped transactions when its addition failed everywhere can be cured by hand: "
        "docs/guard.md#the-cure says how, and what that risks.",
        never="Never re-add member {members} on node {node} as it is, nor after Besu's data alone was deleted: it "
        "would halt for good.",
    ),
    Damage.DIFFERS: Remedy(
        severity=Severity.DAMAGE,
        repair="Remove the member; lock, let a whole block pass, and add it again, when `orchestrator plan add` says "
        "yes. engine.repair does so for additions of this daemon.",
        never="Never add or send anything through node {node} before that, and add nothing else to it meanwhile.",
    ),
    Damage.STANDS_STILL: Remedy(
        severity=Severity.DAMAGE,
        repair="`orchestrator doctor` says what holds it: a replay or an enclave that is down for a while, lost peers "
        "until its Besu is restarted, a failed root check or an invalid block for good (`orchestrator rescue`).",
        never="Never delete Besu's data alone: it meets the same block again. With the enclave's store together it "
        "comes back without the private data of all its groups.",
    ),
    Damage.NO_SENDER: Remedy(
        severity=Severity.DANGER,
        repair="Add nobody through the nodes that can be seen: ask a member whose node never joined a group by replay.",
        never="Never add to the group through the nodes of {members}.",
    ),
    Damage.UNEXTENDABLE: Remedy(
        severity=Severity.DANGER,
        repair="Make a new group, or host new members on nodes that have the group.",
        never="Never add a member whose node has to replay block {block}: it would halt for good.",
    ),
    Damage.STALE: Remedy(
        severity=Severity.DANGER,
        repair="Members agree now. Let others send: a node that sent a stale addition was thrown back, and its later "
        "bundles may be torn.",
        never="Never add through node {node}.",
    ),
    Damage.TORN: Remedy(
        severity=Severity.DANGER,
        repair="Let another member's node send. The node itself is well.",
        never="Never add to this group through node {node}: the new member's node would halt for good.",
    ),
    Damage.FORMER_UNSAFE: Remedy(
        severity=Severity.DANGER,
        repair="Add a key that is hosted on another node.",
        never="Never re-add member {members} on node {node}: it would halt for good.",
    ),
    Damage.FORMER: Remedy(
        severity=Severity.NOTE,
        repair="Nothing has to be done: what a removed member's node had it keeps. It may come back as things are.",
        never="Add nothing else to node {node} while a member of it comes back.",
    ),
    Damage.UNSEEN: Remedy(
        severity=Severity.NOTE,
        repair="Nothing could be compared. Ask the operators of the group's members, whose daemons see more.",
        never="Never re-add a member on the nodes of {members} without the forecast of somebody who sees both.",
    ),
    Damage.UNREAD: Remedy(
        severity=Severity.NOTE, repair="Run the audit again: what was read is kept where there is a store."
    ),
}
"""Every finding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DamageFinding:
    """One finding of a deep audit.

    Attributes:
        damage: What.
        detail: What was seen, for a person.
        privacy_group_id: The group; empty when it is about a node.
        members: Enclave keys that it is about.
        node: The node that it is about; empty for none alone.
        block_number: The block that shows it; None for none.
    """

    damage: Damage
    detail: str
    privacy_group_id: str = ""
    members: tuple[str, ...] = ()
    node: str = ""
    block_number: int | None = None

    @property
    def severity(self) -> Severity:
        """How bad it is."""
        return REMEDIES[self.damage].severity

    @property
    def repair(self) -> str:
        """What repairs it."""
        return self._filled(REMEDIES[self.damage].repair)

    @property
    def never(self) -> str:
        """What must not be done; empty when nothing is forbidden."""
        return self._filled(REMEDIES[self.damage].never)

    def _filled(self, text: str) -> str:
        return text.format(node=self.node, members=", ".join(self.members), block=self.block_number)


def ranked_findings(findings: Iterable[DamageFinding]) -> tuple[DamageFinding, ...]:
    """Return findings, the worst first; of equals by group and node."""
    # The order of the enumeration is the order of reading: what makes the advice below wrong stands first.
    order = list(Damage)

    def place(found: DamageFinding) -> tuple[int, str, str, int]:
        return order.index(found.damage), found.privacy_group_id, found.node, found.block_number or 0

    return tuple(sorted(findings, key=place))


def finding_data(finding: DamageFinding) -> dict[str, Json]:
    """Return a finding as others see it."""
    return {
        "finding": finding.damage.value,
        "severity": finding.severity.value,
        "privacy_group_id": finding.privacy_group_id or None,
        "node": finding.node or None,
        "members": list(finding.members),
        "block_number": finding.block_number,
        "detail": finding.detail,
        "repair": finding.repair,
        "never": finding.never,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Return:
    """A node's root of a group that went and came back.

    Attributes:
        left_at: The first block with another root.
        back_at: The first block at which the old one was there again.
        until: The first block after that with a root that was not there before; None when there is none.
    """

    left_at: int
    back_at: int
    until: int | None


def returns(roots: Sequence[tuple[int, str]]) -> tuple[Return, ...]:
    """Return where a node's roots went back to earlier ones, in their order; nothing where they did not.

    Each executed transaction makes a root that was never there: none comes back on a healthy node. On one that
    replayed a stale bundle some blocks may still show the roots of before.

    Args:
        roots: Blocks and the roots there, oldest first, without gaps.
    """
    first_left: dict[str, int] = {}
    before = ""
    found: list[Return] = []
    back: Return | None = None
    for number, root in roots:
        if root and root != before:
            # Only the first coming back is counted until something new follows: all blocks in between are of one stale
            # replay.
            if root in first_left:
                back = back or Return(left_at=first_left[root], back_at=number, until=None)
            elif back is not None:
                found.append(replace(back, until=number))
                back = None
        if before and root != before:
            first_left.setdefault(before, number)
        before = root
    return tuple(found) if back is None else (*found, back)


def sender_findings(group: str, standings: Sequence[SenderStanding]) -> tuple[DamageFinding, ...]:
    """Return what is to be said of the bundles of a group's members.

    Args:
        group: The group.
        standings: One for each member whose node was looked at.
    """
    torn = [found for found in standings if found.bundle is Bundle.TORN]
    findings = [
        DamageFinding(
            damage=Damage.TORN,
            detail=found.detail,
            privacy_group_id=group,
            members=(found.enclave_key,),
            node=found.node,
            block_number=found.block_number,
        )
        for found in torn
    ]
    # One sound sender is enough for additions; without any, each of them would halt the new member's node.
    if torn and len(torn) == len(standings):
        detail = "the bundle of every member's node that can be seen may be torn"
        members = tuple(found.enclave_key for found in torn)
        findings.append(DamageFinding(damage=Damage.NO_SENDER, detail=detail, privacy_group_id=group, members=members))
    return tuple(findings)


def unextendable_findings(group: str, examinations: Iterable[Examination], most: int = 20) -> tuple[DamageFinding, ...]:
    """Return which blocks close a group to nodes that have to replay them, oldest first, a bounded number.

    Args:
        group: The group.
        examinations: Of its blocks.
        most: How many are named; the first already decides.
    """
    bad = sorted((found for found in examinations if not found.replayable), key=lambda found: found.number)
    return tuple(
        DamageFinding(
            damage=Damage.UNEXTENDABLE,
            detail=flaws_in_words(found),
            privacy_group_id=group,
            block_number=found.number,
        )
        for found in bad[:most]
    )


def former_finding(group: str, key: str, node: str, found: Departure, *, ever: bool) -> DamageFinding:
    """Return what is to be said of a node that holds a group and hosts none of its members.

    Args:
        group: The group.
        key: The node's enclave key.
        node: Its name.
        found: Where its state ends.
        ever: Whether it was a member; else an addition that failed brought the group.
    """
    came = "was a member" if ever else "never was a member: an addition that failed or came too late brought the group"
    # What the next block ends forbids nothing for good.
    if found.trouble is not None and not found.passing:
        return DamageFinding(
            damage=Damage.FORMER_UNSAFE,
            detail=f"it {came}; {found.trouble}",
            privacy_group_id=group,
            members=(key,),
            node=node,
            block_number=found.block_number,
        )
    return DamageFinding(
        damage=Damage.FORMER,
        detail=f"it {came}, and has the group through block {found.last}",
        privacy_group_id=group,
        members=(key,),
        node=node,
        block_number=found.last,
    )


def differing_finding(group: str, key: str, node: str, found: Departure, block_number: int) -> DamageFinding:
    """Return what is to be said of a member that differs from most others.

    Args:
        group: The group.
        key: The member.
        node: Its node.
        found: Where its state ends, as if it were to come back.
        block_number: The block at which members were compared.
    """
    # The same repair, remove and add, halts a node that can't begin where its state ends: so this decides which advice
    # is given.
    beyond = found.trouble is not None and not found.passing
    shows = f"it shows what the group was after block {found.last}" if found.last else "its node has nothing of it"
    seen = found.trouble if beyond else shows
    return DamageFinding(
        damage=Damage.BEYOND_REPAIR if beyond else Damage.DIFFERS,
        detail=f"at block {block_number} its state is another than most members'; {seen}",
        privacy_group_id=group,
        members=(key,),
        node=node,
        block_number=found.block_number if beyond else block_number,
    )
