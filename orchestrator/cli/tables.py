"""Changes and groups as text, tables and bars."""

from collections.abc import Iterable

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from orchestrator.api.change_documents import (
    ChangeDetailDocument,
    ChangeDocument,
    PlanDocument,
    ProgressDocument,
    RepairDocument,
)
from orchestrator.api.documents import DeadLetterPage
from orchestrator.api.group_documents import GroupDocument, GroupPage
from orchestrator.outside_text import told

_STYLE = {"succeeded": "green", "failed": "red", "parked": "yellow", "cancelled": "dim", "queued": "dim"}
_VERDICT_STYLE = {"in_sync": "green", "replaying": "", "unobserved": "dim"}
_BAR_WIDTH = 40


def change_line(change: ChangeDocument) -> str:
    """Return a change's state in one line."""
    reason = f": {change.reason.message}" if change.reason is not None else ""
    return f"{change.change_id} {change.kind.value.replace('_', ' ')} {change.state.value}{reason}"


def replay_text(member: ProgressDocument) -> str:
    """Return how far a member is in one line."""
    text = f"{member.enclave_key} {member.verdict.value.replace('_', ' ')}"
    if member.blocks_total:
        text += f", {member.blocks_replayed} of {member.blocks_total} blocks replayed"
    if member.remaining_seconds:
        text += f", {time_left(member.remaining_seconds)}"
    return text


def time_left(seconds: float) -> str:
    """Return how long something will still take, in words."""
    return f"about {seconds:.0f} s left"


def live_change(change: ChangeDocument) -> RenderableType:
    """Return a change with a progress bar for each member."""
    head = Text.assemble((change.kind.value.replace("_", " "), "bold"), " ")
    head.append(change.state.value, _STYLE.get(change.state.value, "cyan"))
    head.append(f"  {change.change_id}", "dim")
    bars = Table.grid(padding=(0, 1))
    for member in change.progress:
        total = member.blocks_total or None
        bars.add_row(
            Text(member.enclave_key[:12] + "…", "dim"),
            ProgressBar(total=total, completed=member.blocks_replayed, width=_BAR_WIDTH, pulse=total is None),
            _count(member),
            Text(member.verdict.value.replace("_", " "), _VERDICT_STYLE.get(member.verdict.value, "yellow")),
            Text(time_left(member.remaining_seconds) if member.remaining_seconds else "", "dim"),
        )
    parts: list[RenderableType] = [head, bars]
    told = (reason for reason in (change.reason, change.waits_for) if reason is not None)
    parts += [Text(reason.message, _STYLE.get(change.state.value, "yellow")) for reason in told]
    return Group(*parts)


def changes_table(changes: Iterable[ChangeDocument]) -> Table:
    """Return changes as a table."""
    table = Table("change", "kind", "group", "members", "state", "since", "why", box=None, pad_edge=False)
    for change in changes:
        table.add_row(
            change.change_id,
            change.kind.value,
            change.privacy_group_id,
            str(len(change.members)),
            Text(change.state.value, _STYLE.get(change.state.value, "cyan")),
            f"{change.created_at:%Y-%m-%d %H:%M:%S}",
            change.reason.slug if change.reason is not None else "",
        )
    return table


def change_details(change: ChangeDetailDocument) -> RenderableType:
    """Return all that tells why a change is where it is."""
    facts = Table.grid(padding=(0, 2))
    for name, value in _facts(change):
        facts.add_row(Text(name, "dim"), value if isinstance(value, Text) else Text(str(value)))
    parts: list[RenderableType] = [facts]
    if change.progress:
        parts += ["", Text("Members", "bold"), _progress_table(change)]
    if change.attempts:
        parts += ["", Text("Transactions", "bold"), _attempts_table(change)]
    if change.history:
        parts += ["", Text("History", "bold"), _history_table(change)]
    return Group(*parts)


def groups_table(page: GroupPage) -> Table:
    """Return groups as a table."""
    table = Table("group", "members", "locked", "block", "unfinished", box=None, pad_edge=False)
    for group in page.groups:
        table.add_row(
            group.privacy_group_id,
            str(len(group.participants)),
            _yes_no(group.locked),
            "" if group.block_number is None else str(group.block_number),
            str(len(group.unfinished)),
        )
    return table


def group_details(group: GroupDocument) -> RenderableType:
    """Return a group and how each member stands."""
    facts = Table.grid(padding=(0, 2))
    facts.add_row(Text("group", "dim"), group.privacy_group_id)
    facts.add_row(Text("locked", "dim"), _yes_no(group.locked))
    facts.add_row(Text("version", "dim"), group.version or "?")
    facts.add_row(Text("members agree", "dim"), _yes_no(group.in_sync))
    facts.add_row(Text("unfinished", "dim"), ", ".join(group.unfinished) or "none")
    members = Table("member", "node", "head", "has the group", "state root", box=None, pad_edge=False)
    for member in group.members:
        members.add_row(
            member.enclave_key,
            member.node or "(no access)",
            "" if member.head is None else str(member.head),
            _yes_no(member.exists),
            member.state_root,
        )
    return Group(facts, "", members)


def dead_letters_table(page: DeadLetterPage) -> Table:
    """Return dead letters as a table."""
    table = Table("letter", "reason", "message", box=None, pad_edge=False)
    for letter in page.dead_letters:
        # Whoever may publish wrote these: on a terminal they must be nothing but text.
        table.add_row(*(escape(told(text, 200)) for text in (letter.letter_id, letter.reason, letter.body)))
    return table


def _facts(change: ChangeDetailDocument) -> list[tuple[str, object]]:
    facts: list[tuple[str, object]] = [
        ("change", change.change_id),
        ("request", change.request_id),
        ("kind", change.kind.value),
        ("group", change.privacy_group_id),
        ("members", "\n".join(change.members) or "-"),
        ("account", change.account),
        ("asked", f"{change.created_at:%Y-%m-%d %H:%M:%S} UTC"),
        ("state", Text(change.state.value, _STYLE.get(change.state.value, "cyan"))),
    ]
    if change.reason is not None:
        facts += [
            ("why", f"{change.reason.slug.replace('_', ' ')}: {change.reason.detail or change.reason.message}"),
            ("what to do", change.reason.remedy),
        ]
    if change.waits_for is not None:
        facts.append(("waits for", change.waits_for.message))
    if change.tries:
        facts.append(("tried again", f"{change.tries} times"))
    if change.waiting_since is not None and not change.ended:
        facts.append(("waits since", f"{change.waiting_since:%Y-%m-%d %H:%M:%S} UTC"))
    if change.not_before is not None and not change.ended:
        facts.append(("next try", f"{change.not_before:%Y-%m-%d %H:%M:%S} UTC"))
    if change.deadline is not None:
        facts.append(("deadline", f"{change.deadline:%Y-%m-%d %H:%M:%S} UTC"))
    if change.lock_block is not None:
        facts.append(("group locked by it", f"since block {change.lock_block}"))
    if change.lead_id is not None and change.lead_id != change.change_id:
        facts.append(("carried by", change.lead_id))
    if change.plan is not None and not change.ended:
        facts.append(("plan", _plan_text(change.plan)))
    if change.effect is not None:
        facts += [
            ("in effect", f"since block {change.effect.block_number}, {change.effect.block_hash}"),
            ("version", change.effect.version),
            ("state root", change.effect.state_root),
        ]
    if change.independent is not None:
        seen = "an old member's node that did not send it" if change.independent else "no node but its sender's"
        facts.append(("seen on", seen))
    if change.repair is not None:
        facts.append(("repair", _repair_text(change.repair)))
    return facts


def _plan_text(plan: PlanDocument) -> str:
    text = f"through {plan.node}: {len(plan.to_add)} to add, {len(plan.to_remove)} to remove"
    for entry in plan.vouched:
        text += f"; {entry.enclave_key}: unseen, attested by {entry.account} at block {entry.block_number}"
    for key in plan.unforeseen:
        text += f"; {key}: unseen, what its node makes of the history is not known"
    if plan.bundling_seconds is None:
        return text
    return f"{text}; bundling the history took {plan.bundling_seconds:.1f} s at the last addition, under the lock"


def _repair_text(repair: RepairDocument) -> str:
    if repair.removed_block is None:
        return f"{len(repair.members)} members since block {repair.since_block}, not removed"
    return f"{len(repair.members)} members since block {repair.since_block}, removed in block {repair.removed_block}"


def _verdict_text(member: ProgressDocument) -> str:
    return member.verdict.value if member.attested_by is None else f"{member.verdict.value}, says {member.attested_by}"


def _progress_table(change: ChangeDetailDocument) -> Table:
    table = Table("member", "verdict", "replayed", "head", "equal through", "last moved", box=None, pad_edge=False)
    for member in change.progress:
        table.add_row(
            member.enclave_key,
            Text(_verdict_text(member), _VERDICT_STYLE.get(member.verdict.value, "yellow")),
            _count(member),
            "" if member.head is None else str(member.head),
            "" if member.in_sync_through is None else str(member.in_sync_through),
            f"{member.moved_at:%H:%M:%S}",
        )
    return table


def _attempts_table(change: ChangeDetailDocument) -> Table:
    table = Table("action", "node", "private nonce", "sent at", "status", "PMTs", box=None, pad_edge=False)
    for attempt in change.attempts:
        table.add_row(
            attempt.action.value,
            attempt.node,
            str(attempt.private_nonce),
            "" if attempt.sent_block is None else f"block {attempt.sent_block}",
            attempt.status.value,
            "\n".join(attempt.pmt_hashes),
        )
    return table


def _history_table(change: ChangeDetailDocument) -> Table:
    table = Table("at", "from", "to", "fact", "detail", box=None, pad_edge=False)
    for entry in change.history:
        table.add_row(
            f"{entry.at:%H:%M:%S}", entry.from_state.value, entry.to_state.value, entry.fact, escape(entry.detail)
        )
    return table


def _count(member: ProgressDocument) -> str:
    return f"{member.blocks_replayed} of {member.blocks_total}" if member.blocks_total else ""


def _yes_no(value: bool | None) -> Text:
    return Text("not seen", "dim") if value is None else Text("yes" if value else "no")
