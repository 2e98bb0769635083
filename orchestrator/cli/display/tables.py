"""Changes and groups as lines, lists and bars."""

from collections.abc import Iterable, Sequence

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from orchestrator.access.audit import Outcome
from orchestrator.api.documents.access import TokenPage
from orchestrator.api.documents.changes import ChangeDocument, ProgressDocument
from orchestrator.api.documents.groups import GroupDocument
from orchestrator.api.documents.shared import DeadLetterPage
from orchestrator.api.documents.webhooks import WebhookDocument
from orchestrator.api.resources.audit_log import AuditDocument
from orchestrator.cli.display.event_lines import verb_of
from orchestrator.cli.display.rows import Listing
from orchestrator.cli.display.words import Words, ago
from orchestrator.outside_text import presentable

STATE_STYLE = {"succeeded": "green", "failed": "red", "parked": "yellow", "cancelled": "dim", "queued": "dim"}
VERDICT_STYLE = {"in_sync": "green", "replaying": "", "unobserved": "dim"}
NARROW = 1.6
"""A range whose ends are so near to each other is one number to a reader."""
_BAR_WIDTH = 24


def change_line(change: ChangeDocument, words: Words) -> str:
    """Return a change's state in one line."""
    reason = f": {words.named(change.reason.message)}" if change.reason is not None else ""
    return f"{words.change(change.change_id)} {change.kind.value.replace('_', ' ')} {change.state.value}{reason}"


def replay_text(member: ProgressDocument, words: Words) -> str:
    """Return how far a member is in one line."""
    text = f"{words.member(member.enclave_key)} {member.verdict.value.replace('_', ' ')}"
    if member.blocks_total:
        text += f", {counted(member)} replayed"
    if member.remaining_seconds:
        text += f", {time_left(member)}"
    return text


def counted(member: ProgressDocument) -> str:
    """Return how much of a replay is done, in words: by its transactions where they are known, else by its blocks."""
    if member.transactions_total:
        return f"{member.transactions_replayed:,} of {member.transactions_total:,} transactions"
    return f"{member.blocks_replayed:,} of {member.blocks_total:,} blocks" if member.blocks_total else ""


def done_of(member: ProgressDocument) -> tuple[int, int]:
    """Return how much of a replay is done, and of how much; 0 of 0 while that is unknown."""
    if member.transactions_total:
        return member.transactions_replayed, member.transactions_total
    return member.blocks_replayed, member.blocks_total


def time_left(member: ProgressDocument) -> str:
    """Return how long a replay will still take, in words; empty while that can't be told."""
    left = member.left
    if left is None or not member.remaining_seconds:
        return ""
    slower = "slower now: " if left.slower else ""
    low, high = ago(left.low_seconds), ago(left.high_seconds)
    if left.high_seconds <= NARROW * left.low_seconds or low == high:
        return f"{slower}about {ago(member.remaining_seconds)} left"
    return f"{slower}{low} to {high} left"


def live_change(change: ChangeDocument, words: Words) -> RenderableType:
    """Return a change with a progress bar for each member."""
    head = Text.assemble((change.kind.value.replace("_", " "), "bold"), " ")
    head.append(change.state.value, STATE_STYLE.get(change.state.value, "cyan"))
    head.append(f"  {words.group(change.privacy_group_id)}  {words.change(change.change_id)}", "dim")
    bars = Table.grid(padding=(0, 1))
    for _ in range(4):
        bars.add_column(no_wrap=True)
    for member in change.progress:
        done, total = done_of(member)
        verdict = Text(member.verdict.value.replace("_", " "), VERDICT_STYLE.get(member.verdict.value, "yellow"))
        left = time_left(member)
        bars.add_row(
            Text(words.member(member.enclave_key), "dim"),
            _bar(member, done, total),
            counted(member),
            Text(left, "dim") if left else verdict,
        )
    parts: list[RenderableType] = [head, bars]
    said = (reason for reason in (change.reason, change.waits_for) if reason is not None)
    parts += [Text(words.named(reason.message), STATE_STYLE.get(change.state.value, "yellow")) for reason in said]
    return Group(*parts)


def _bar(member: ProgressDocument, done: int, total: int) -> ProgressBar:
    """Return a member's bar: whole where nothing was to be replayed, moving while it is not known how much is."""
    if not total and member.verdict.value == "in_sync":
        return ProgressBar(total=1, completed=1, width=_BAR_WIDTH)
    return ProgressBar(total=total or None, completed=done, width=_BAR_WIDTH, pulse=not total)


def changes_listing(changes: Iterable[ChangeDocument], words: Words) -> Listing:
    """Return changes as a list, the newest first."""
    return Listing(
        headings=("change", "kind", "group", "members", "state", "asked", "why"),
        rows=tuple(
            (
                words.change(change.change_id),
                change.kind.value if words.full else verb_of(change.kind.value),
                words.group(change.privacy_group_id),
                words.members(change.members),
                Text(change.state.value, STATE_STYLE.get(change.state.value, "cyan")),
                words.at(change.created_at),
                change.reason.slug if change.reason is not None else "",
            )
            for change in changes
        ),
        given_up=("asked", "members"),
    )


def groups_listing(groups: Sequence[GroupDocument], words: Words) -> Listing:
    """Return groups as a list."""
    return Listing(
        headings=("group", "members", "locked", "block", "unfinished", "note"),
        rows=tuple(
            (
                words.group(group.privacy_group_id),
                words.members(group.participants) or "-",
                yes_no(group.locked),
                "" if group.block_number is None else str(group.block_number),
                str(len(group.unfinished)),
                "" if group.managed else "not managed yet",
            )
            for group in groups
        ),
        given_up=("block", "unfinished"),
    )


def dead_letters_listing(page: DeadLetterPage) -> Listing:
    """Return dead letters as a list."""
    # Whoever may publish wrote these: on a terminal they must be nothing but text.
    return Listing(
        headings=("letter", "reason", "message"),
        rows=tuple(
            (presentable(letter.letter_id, 200), presentable(letter.reason, 200), presentable(letter.body, 200))
            for letter in page.dead_letters
        ),
    )


def webhooks_listing(webhooks: Sequence[WebhookDocument]) -> Listing:
    """Return webhooks as a list, with what keeps each."""

    def state(webhook: WebhookDocument) -> Text:
        if webhook.stopped_since is not None:
            return Text("stopped", "yellow")
        if webhook.paused_since is not None:
            return Text("failing, tried now and then", "red")
        return Text(f"{webhook.failures} failures", "yellow") if webhook.failures else Text("posts", "green")

    return Listing(
        headings=("webhook", "to", "state", "event", "to go", "last failure"),
        rows=tuple(
            (
                webhook.name,
                webhook.address,
                state(webhook),
                "" if webhook.position is None else str(webhook.position),
                str(webhook.behind),
                presentable(webhook.detail, 200),
            )
            for webhook in webhooks
        ),
        given_up=("to", "event"),
    )


def tokens_listing(page: TokenPage) -> Listing:
    """Return callers' tokens as a list."""
    return Listing(
        headings=("token", "name", "role", "limited to", "until", "revoked"),
        rows=tuple(
            (
                token.token_id,
                token.name,
                token.role.value,
                ", ".join(
                    f"{len(listed)} {what}"
                    for what, listed in (("groups", token.groups), ("accounts", token.accounts), ("kinds", token.kinds))
                    if listed is not None
                ),
                f"{token.expires_at:%Y-%m-%d}",
                "" if token.revoked_at is None else f"{token.revoked_at:%Y-%m-%d}",
            )
            for token in page.tokens
        ),
        given_up=("limited to",),
    )


def audit_listing(entries: Sequence[AuditDocument]) -> Listing:
    """Return entries of the audit log as a list."""
    return Listing(
        headings=("number", "at", "caller", "door", "did", "about", "change", "why"),
        rows=tuple(
            (
                str(entry.number),
                f"{entry.at:%Y-%m-%d %H:%M:%S}",
                presentable(entry.caller or entry.source or "-", 100),
                entry.door.value,
                entry.action.value if entry.outcome is Outcome.ACCEPTED else f"{entry.action.value} refused",
                presentable(entry.about, 100),
                entry.change_id,
                presentable(entry.reason, 200),
            )
            for entry in entries
        ),
        given_up=("door", "why", "about"),
    )


def yes_no(value: bool | None) -> Text:
    """Return what is known as a word."""
    return Text("not seen", "dim") if value is None else Text("yes" if value else "no")
