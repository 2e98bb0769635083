"""What a rehearsal saw, and whether the network is fit. Pure."""

from dataclasses import asdict, dataclass
from typing import Any, Final

from orchestrator.cli.display.words import blocks
from orchestrator.membership.forecast.durations import BYTES_OF_A_SMALL_TRANSACTION, SMALLEST_LIMIT_BYTES

LONG_LOCK_BLOCKS: Final = 5
FAR_BEHIND_BLOCKS: Final = 20
_MILLISECONDS: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """What the newest blocks hold.

    Attributes:
        first_block, last_block: The blocks that were read.
        days: The time that they span.
        account_twice: In how many of them an account sent twice.
        with_private: In how many of these there is a private transaction, too: no new member can replay that group.
        newest: The newest of the first kind; None when there is none.
        account: Whose it is; empty when there is none.
        period_seconds: Between two blocks.
        whole: Whether the days that were asked for are in it; else the bound on blocks or time was reached.
    """

    first_block: int
    last_block: int
    days: float
    account_twice: int
    with_private: int
    newest: int | None
    account: str
    period_seconds: float
    whole: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """What the addition and the removal took; None for what was not come to.

    Attributes:
        create_seconds: Creating the scratch group.
        fill_seconds: Writing the transactions.
        transactions: How many were written.
        forecast: What the forecast said.
        bundling_seconds: Collecting the history, under the lock.
        lock_blocks: For how many blocks the group was locked.
        replay_seconds: From the addition's block on the sender's node to the same on the new member's.
        blocks_behind: By how many blocks that fell behind, at the most.
        agreed_blocks: Blocks from the addition's on at which all members' state roots were equal.
        remove_seconds: Removing the member.
    """

    create_seconds: float | None = None
    fill_seconds: float | None = None
    transactions: int = 0
    forecast: str = ""
    bundling_seconds: float | None = None
    lock_blocks: int | None = None
    replay_seconds: float | None = None
    blocks_behind: int | None = None
    agreed_blocks: int = 0
    remove_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """What a rehearsal saw.

    Attributes:
        members: Names of the nodes, the sender's first and the new member's last.
        versions: Their lines of Besu, in the same order.
        privacy_group_id: The scratch group; empty when it was not made.
        scan: What the newest blocks hold; None when they could not be read.
        course: What was done.
        troubles: Why the network is not fit, each with what to do.
        remarks: What to know before the real thing.
        left: What stays behind.
    """

    members: tuple[str, ...]
    versions: tuple[str, ...]
    privacy_group_id: str = ""
    scan: Scan | None = None
    course: Course = Course()
    troubles: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    left: tuple[str, ...] = ()

    @property
    def fit(self) -> bool:
        """Whether additions go right here, as far as one rehearsal shows."""
        return not self.troubles and self.course.remove_seconds is not None


def remarks_on(scan: Scan | None, course: Course) -> tuple[str, ...]:
    """Return what to know before the real thing, from what was measured."""
    found = []
    if scan is not None and scan.account_twice:
        blocks = scan.last_block - scan.first_block + 1
        found.append(
            f"In {scan.account_twice:,} of {blocks:,} blocks an account sent twice, the newest is {scan.newest} "
            f"({scan.account}): a group with a transaction in such a block can't be given to a new member any more "
            f"({scan.with_private:,} of them hold private transactions). Let each account wait for its block."
        )
    if scan is not None and not scan.whole:
        found.append(f"Only the blocks of the last {scan.days:.1f} days were read: ask for more with --blocks.")
    if course.lock_blocks is not None and course.lock_blocks > LONG_LOCK_BLOCKS:
        found.append(f"The group was locked for {course.lock_blocks} blocks: applications wait for so long.")
    if course.blocks_behind is not None and course.blocks_behind > FAR_BEHIND_BLOCKS:
        found.append(f"The new member's node fell {course.blocks_behind} blocks behind while it replayed.")
    most = SMALLEST_LIMIT_BYTES // BYTES_OF_A_SMALL_TRANSACTION
    if course.transactions and course.transactions < most:
        found.append(
            f"A history of more than about {most:,} transactions is not tried here: an enclave that stores 1 MiB at "
            "most refuses it. Rehearse with as many as your largest group has."
        )
    return tuple(found)


def as_document(found: Rehearsal) -> dict[str, Any]:
    """Return a rehearsal as one document."""
    return {"fit": found.fit, **asdict(found)}


def as_markdown(found: Rehearsal) -> str:
    """Return a rehearsal as a report for a person."""
    verdict = "fit" if found.fit else "not fit"
    lines = [
        "# Rehearsal",
        "",
        f"**The network is {verdict}.**"
        if found.fit
        else f"**The network is {verdict}**, or could not be tried to the end:",
    ]
    lines += [f"- {trouble}" for trouble in found.troubles]
    lines += ["", "| | |", "|---|---|"]
    lines += [f"| {what} | {value} |" for what, value in _facts(found)]
    for title, items in (("Before the real thing", found.remarks), ("What is left", found.left)):
        if items:
            lines += ["", f"## {title}", *(f"- {item}" for item in items)]
    return "\n".join(lines) + "\n"


def _facts(found: Rehearsal) -> list[tuple[str, str]]:
    course, scan = found.course, found.scan
    facts = [("members", ", ".join(f"{n} ({v})" for n, v in zip(found.members, found.versions, strict=True)))]
    if scan is not None:
        facts += [
            ("blocks read", f"{scan.first_block:,} to {scan.last_block:,} ({scan.days:.1f} days)"),
            ("time between two blocks", f"{scan.period_seconds:.1f} s"),
            (
                "blocks in which an account sent twice",
                f"{scan.account_twice:,}, {scan.with_private:,} with private ones",
            ),
        ]
    if found.privacy_group_id:
        facts.append(("scratch group", found.privacy_group_id))
    facts += [("transactions written", f"{course.transactions:,}")] if course.transactions else []
    facts += [(what, f"{value:.1f} s") for what, value in _times(course) if value is not None]
    facts += [("forecast", course.forecast)] if course.forecast else []
    if course.lock_blocks is not None:
        facts.append(("locked for", blocks(course.lock_blocks)))
    if course.blocks_behind is not None:
        facts.append(("the new member's node fell behind by", blocks(course.blocks_behind)))
    if course.agreed_blocks:
        facts.append(("state roots of all members equal at", f"{course.agreed_blocks} blocks in a row"))
    if course.replay_seconds and course.transactions:
        each = _MILLISECONDS * course.replay_seconds / course.transactions
        facts.append(("replay of a transaction", f"{each:.1f} ms, with all that every replay takes"))
    return facts


def _times(course: Course) -> tuple[tuple[str, float | None], ...]:
    return (
        ("creating the group", course.create_seconds),
        ("writing", course.fill_seconds),
        ("bundling the history", course.bundling_seconds),
        ("replay", course.replay_seconds),
        ("removing the member", course.remove_seconds),
    )
