"""One change, or one group, with all that tells why it is as it is."""

from rich.console import Console
from rich.text import Text

from orchestrator.api.documents.changes import (
    AdditionTimeDocument,
    ChangeDetailDocument,
    PlanDocument,
    ProgressDocument,
    RepairDocument,
)
from orchestrator.api.documents.groups import GroupDocument
from orchestrator.cli.display.rows import Listing, print_facts
from orchestrator.cli.display.tables import STATE_STYLE, VERDICT_STYLE, counted, yes_no
from orchestrator.cli.display.words import Words
from orchestrator.outside_text import presentable

_ASKS_A_PERSON = ("parked", "failed")


def print_change(console: Console, change: ChangeDetailDocument, words: Words) -> None:
    """Print all that tells why a change is where it is."""
    print_facts(console, _facts(change, words))
    for listing in (_members(change, words), _attempts(change, words), _history(change, words)):
        if listing.rows:
            console.print()
            listing.print_on(console)


def print_group(console: Console, group: GroupDocument, words: Words) -> None:
    """Print a group and how each member stands."""
    facts: list[tuple[str, str | Text]] = [("group", group.privacy_group_id)]
    if (name := words.group(group.privacy_group_id)) in words.groups:
        facts.append(("name", name))
    facts += [
        ("locked", yes_no(group.locked)),
        ("version", words.hash(group.version) or "?"),
        ("members agree", yes_no(group.in_sync)),
        ("unfinished", ", ".join(map(words.change, group.unfinished)) or "none"),
    ]
    if not group.managed:
        facts.append(("note", "not managed yet: no change of it was asked for here"))
    print_facts(console, facts)
    console.print()
    Listing(
        headings=("member", "node", "head", "has it", "state root"),
        rows=tuple(
            (
                words.member(member.enclave_key),
                member.node or "(no access)",
                "" if member.head is None else str(member.head),
                yes_no(member.exists),
                words.hash(member.state_root),
            )
            for member in group.members
        ),
        title="Members",
    ).print_on(console)


def _facts(change: ChangeDetailDocument, words: Words) -> list[tuple[str, str | Text]]:
    facts: list[tuple[str, str | Text]] = [
        ("change", change.change_id),
        ("request", presentable(change.request_id)),
        ("kind", change.kind.value.replace("_", " ")),
        ("group", words.group(change.privacy_group_id)),
        ("members", words.members(change.members) or "-"),
        ("account", change.account),
        ("asked", words.at(change.created_at)),
        ("state", Text(change.state.value, STATE_STYLE.get(change.state.value, "cyan"))),
    ]
    if change.reason is not None:
        what = words.named(change.reason.detail or change.reason.message)
        facts += [("why", f"{change.reason.slug.replace('_', ' ')}: {what}"), ("what to do", change.reason.remedy)]
        if change.state.value in _ASKS_A_PERSON and change.reason.commands:
            facts.append(("type", "\n".join(map(words.named, change.reason.commands))))
    if change.waits_for is not None:
        facts.append(("waits for", words.named(change.waits_for.message)))
    if change.tries:
        facts.append(("tried again", f"{change.tries} times"))
    for name, time in (
        ("waits since", change.waiting_since),
        ("next try", change.not_before),
        ("deadline", change.deadline),
    ):
        if time is not None and not change.ended:
            facts.append((name, f"{time:%Y-%m-%d %H:%M:%S} UTC"))
    if change.lock_block is not None:
        facts.append(("group locked by it", f"since block {change.lock_block}"))
    if change.lead_id is not None and change.lead_id != change.change_id:
        facts.append(("carried by", words.change(change.lead_id)))
    if change.plan is not None and not change.ended:
        facts.append(("plan", _plan_text(change.plan, words)))
    if change.effect is not None:
        facts += [
            ("in effect", f"since block {change.effect.block_number}, {words.hash(change.effect.block_hash)}"),
            ("version", words.hash(change.effect.version)),
            ("state root", words.hash(change.effect.state_root)),
        ]
    if change.independent is not None:
        seen = "an old member's node that did not send it" if change.independent else "no node but its sender's"
        facts.append(("seen on", seen))
    facts += [("took", _taken_text(time, words)) for time in change.times]
    if change.repair is not None:
        facts.append(("repair", _repair_text(change.repair)))
    return facts


def _plan_text(plan: PlanDocument, words: Words) -> str:
    text = f"through {plan.node}: {len(plan.to_add)} to add, {len(plan.to_remove)} to remove"
    for entry in plan.vouched:
        member = words.member(entry.enclave_key)
        text += f"; {member}: unseen, attested by {entry.account} at block {entry.block_number}"
    for key in plan.unforeseen:
        text += f"; {words.member(key)}: unseen, what its node makes of the history is not known"
    if plan.bundling_seconds is None:
        return text
    return f"{text}; bundling the history took {plan.bundling_seconds:.1f} s at the last addition, under the lock"


def _taken_text(time: AdditionTimeDocument, words: Words) -> str:
    who = f"{words.member(time.enclave_key)}'s " if time.enclave_key else ""
    forecast = "no forecast" if time.expected_seconds is None else f"forecast {time.expected_seconds:.1f} s"
    taken = "not over" if time.taken_seconds is None else f"{time.taken_seconds:.1f} s"
    return f"{who}{time.quantity.value} of {time.transactions:,} transactions: {taken}, {forecast}"


def _repair_text(repair: RepairDocument) -> str:
    if repair.refused and repair.removed_block is not None:
        return f"{len(repair.members)} members were out at block {repair.removed_block}, {repair.refused}"
    if repair.refused:
        return f"{len(repair.members)} members since block {repair.since_block} to be removed, {repair.refused}"
    since = f"that executed {repair.stale_pmt}" if repair.stale_pmt else f"since block {repair.since_block}"
    if repair.removed_block is None:
        return f"{len(repair.members)} members {since}, not removed"
    return f"{len(repair.members)} members {since}, removed in block {repair.removed_block}"


def _verdict_text(member: ProgressDocument) -> str:
    verdict = member.verdict.value.replace("_", " ")
    return verdict if member.attested_by is None else f"{verdict}, says {member.attested_by}"


def _members(change: ChangeDetailDocument, words: Words) -> Listing:
    return Listing(
        headings=("member", "verdict", "replayed", "head", "equal through", "last moved"),
        rows=tuple(
            (
                words.member(member.enclave_key),
                Text(_verdict_text(member), VERDICT_STYLE.get(member.verdict.value, "yellow")),
                counted(member),
                "" if member.head is None else str(member.head),
                "" if member.in_sync_through is None else str(member.in_sync_through),
                f"{member.moved_at:%H:%M:%S}",
            )
            for member in change.progress
        ),
        given_up=("last moved", "head"),
        title="Members",
    )


def _attempts(change: ChangeDetailDocument, words: Words) -> Listing:
    return Listing(
        headings=("action", "node", "private nonce", "sent at", "status", "PMTs"),
        rows=tuple(
            (
                attempt.action.value,
                attempt.node,
                str(attempt.private_nonce),
                "" if attempt.sent_block is None else f"block {attempt.sent_block}",
                attempt.status.value,
                " ".join(map(words.hash, attempt.pmt_hashes)),
            )
            for attempt in change.attempts
        ),
        given_up=("private nonce",),
        title="Transactions",
    )


def _history(change: ChangeDetailDocument, words: Words) -> Listing:
    return Listing(
        headings=("at", "from", "to", "what was seen", "detail"),
        rows=tuple(
            (
                f"{entry.at:%H:%M:%S}",
                entry.from_state.value,
                entry.to_state.value,
                spoken(entry.fact),
                words.named(presentable(entry.detail)),
            )
            for entry in change.history
        ),
        given_up=("from",),
        title="History",
    )


def spoken(fact: str) -> str:
    """Return the name of a fact in words: ``AttemptSigned`` is "attempt signed"."""
    return "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in fact).strip()
