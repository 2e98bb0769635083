"""Units of work on what was read of the chain: a group's blocks, examined blocks, a node's additions and removals.

Replicas read the same chain and may write the same rows at the same time, so that every row is written over.
"""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from orchestrator.engine.history.ports import KeptBlocks, KeptLogs, Mark
from orchestrator.membership.forecast.blocks import Examination, Flaw, FlawedTransactions
from orchestrator.membership.forecast.histories import GroupBlock
from orchestrator.membership.forecast.memberships import MembershipLog
from orchestrator.store.commits.transaction import Transaction, Upsert, per_dialect
from orchestrator.store.rows import Row, to_json
from orchestrator.store.schema import (
    GROUP_MARK,
    NODE_MARK,
    examined_blocks,
    group_blocks,
    history_marks,
    membership_logs,
)

NUMBERS_AT_ONCE = 500
"""How many blocks one query names: databases bound the parameters of a statement."""


def upsert_over(table: sa.Table) -> dict[str, sa.Insert]:
    """Return by dialect the statement that writes a row in place of one with the same key."""
    keys = [column.name for column in table.primary_key]

    def build(insert: Upsert) -> sa.Insert:
        statement = insert(table)
        values = {column.name: statement.excluded[column.name] for column in table.columns if column.name not in keys}
        return statement.on_conflict_do_update(index_elements=keys, set_=values)

    return per_dialect(build)


_PUT_BLOCK = upsert_over(group_blocks)
_PUT_EXAMINATION = upsert_over(examined_blocks)
_PUT_LOG = upsert_over(membership_logs)
_PUT_MARK = upsert_over(history_marks)
_DROP_BLOCKS = group_blocks.delete().where(
    group_blocks.c.privacy_group_id == sa.bindparam("group"), group_blocks.c.number > sa.bindparam("above")
)


def kept_blocks(connection: sa.Connection, *, privacy_group_id: str) -> KeptBlocks:
    """Return what is kept of a group."""
    of_group = (
        sa.select(group_blocks)
        .where(group_blocks.c.privacy_group_id == privacy_group_id)
        .order_by(group_blocks.c.number)
    )
    blocks = tuple(
        GroupBlock(number=row.number, block_hash=row.block_hash, state_root=row.state_root)
        for row in connection.execute(of_group)
    )
    return KeptBlocks(blocks=blocks, mark=_mark(connection, GROUP_MARK, privacy_group_id))


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepBlocks:
    """Puts blocks in place of all that are kept of a group above a number.

    Attributes:
        privacy_group_id: The group.
        above: The number.
        blocks: The blocks.
        mark: How far the group was read.
    """

    privacy_group_id: str
    above: int
    blocks: tuple[GroupBlock, ...]
    mark: Mark

    def __call__(self, transaction: Transaction) -> None:
        """Do it alone."""
        connection = transaction.connection
        # With the mark in one transaction: blocks of a branch that was left never stand beside those of the chain.
        connection.execute(_DROP_BLOCKS, {"group": self.privacy_group_id, "above": self.above})
        rows = [
            {
                "privacy_group_id": self.privacy_group_id,
                "number": block.number,
                "block_hash": block.block_hash,
                "state_root": block.state_root,
            }
            for block in self.blocks
        ]
        if rows:
            connection.execute(_PUT_BLOCK[connection.dialect.name], rows)
        _put_mark(connection, GROUP_MARK, self.privacy_group_id, self.mark)

    @staticmethod
    def together(transaction: Transaction, units: "Sequence[KeepBlocks]") -> list[None]:
        """Do it for several groups; see `shared_transactions.Joint`."""
        # Replicas keep the same groups: in any other than one order their transactions could wait for each other.
        for unit in sorted(units, key=lambda unit: unit.privacy_group_id):
            unit(transaction)
        return [None] * len(units)


def examinations(connection: sa.Connection, *, numbers: Collection[int]) -> tuple[Examination, ...]:
    """Return what is kept of blocks."""
    wanted = sorted(numbers)
    found: list[Examination] = []
    # A database bounds the parameters of one statement.
    for start in range(0, len(wanted), NUMBERS_AT_ONCE):
        some = wanted[start : start + NUMBERS_AT_ONCE]
        rows = connection.execute(sa.select(examined_blocks).where(examined_blocks.c.number.in_(some)))
        found += [examination_of(row) for row in rows.mappings()]
    return tuple(found)


def newest_examinations(connection: sa.Connection, *, limit: int, below: int, node: str) -> tuple[Examination, ...]:
    """Return the examined blocks below a number that a node told alone, or two did; newest first."""
    newest = (
        sa.select(examined_blocks)
        .where(examined_blocks.c.number < below, examined_blocks.c.told_by.in_(("", node)))
        .order_by(examined_blocks.c.number.desc())
        .limit(limit)
    )
    return tuple(examination_of(row) for row in connection.execute(newest).mappings())


def keep_examinations(transaction: Transaction, *, examined: Sequence[Examination]) -> None:
    """Keep what blocks are to a replay."""
    rows = [
        {
            "number": e.number,
            "block_hash": e.block_hash,
            "findings": findings_text(e),
            "markers": e.markers,
            "told_by": e.told_by,
        }
        for e in examined
    ]
    if rows:
        transaction.connection.execute(_PUT_EXAMINATION[transaction.connection.dialect.name], rows)


def forget_examinations(transaction: Transaction, *, above: int, told_by: str) -> None:
    """Forget the blocks above a number that a node told alone; those that two told for an empty name."""
    transaction.connection.execute(
        examined_blocks.delete().where(examined_blocks.c.number > above, examined_blocks.c.told_by == told_by)
    )


def kept_logs(connection: sa.Connection, *, node_key: str) -> KeptLogs:
    """Return what is kept of a node's groups."""
    of_node = (
        sa.select(membership_logs).where(membership_logs.c.node_key == node_key).order_by(membership_logs.c.position)
    )
    logs = tuple(
        MembershipLog(
            privacy_group_id=row.privacy_group_id,
            block_number=row.block_number,
            block_hash=row.block_hash,
            member=row.member,
            added=row.added,
        )
        for row in connection.execute(of_node)
    )
    return KeptLogs(logs=logs, mark=_mark(connection, NODE_MARK, node_key))


def keep_logs(transaction: Transaction, *, node_key: str, logs: Sequence[MembershipLog], mark: Mark) -> None:
    """Put logs in place of all that are kept of a node: they are few, and their places shift."""
    connection = transaction.connection
    # With its mark in one transaction, as the blocks of a group.
    connection.execute(membership_logs.delete().where(membership_logs.c.node_key == node_key))
    rows = [
        {
            "node_key": node_key,
            "position": position,
            "privacy_group_id": log.privacy_group_id,
            "block_number": log.block_number,
            "block_hash": log.block_hash,
            "member": log.member,
            "added": log.added,
        }
        for position, log in enumerate(logs)
    ]
    if rows:
        connection.execute(_PUT_LOG[connection.dialect.name], rows)
    _put_mark(connection, NODE_MARK, node_key, mark)


def _mark(connection: sa.Connection, kind: str, name: str) -> Mark | None:
    wanted = sa.select(history_marks).where(history_marks.c.kind == kind, history_marks.c.name == name)
    row = connection.execute(wanted).one_or_none()
    return None if row is None else Mark(number=row.number, block_hash=row.block_hash)


def _put_mark(connection: sa.Connection, kind: str, name: str, mark: Mark) -> None:
    row = {"kind": kind, "name": name, "number": mark.number, "block_hash": mark.block_hash}
    connection.execute(_PUT_MARK[connection.dialect.name], [row])


def findings_text(examination: Examination) -> str:
    """Return what was found in a block, as it is kept."""
    # Nearly all blocks: kept as nothing, for there are as many as the chain has with groups in them.
    if not examination.flaws and not examination.unsettling:
        return ""
    flaws = [[flaw.flaw.value, flaw.account, list(flaw.transactions)] for flaw in examination.flaws]
    return to_json({"flaws": flaws, "unsettling": list(examination.unsettling)})


def examination_of(row: Row) -> Examination:
    """Return what a block is to a replay from a row with its number, hash and findings."""
    found = json.loads(row["findings"]) if row["findings"] else {"flaws": [], "unsettling": []}
    return Examination(
        number=row["number"],
        block_hash=row["block_hash"],
        flaws=tuple(
            FlawedTransactions(flaw=Flaw(flaw), account=account, transactions=tuple(transactions))
            for flaw, account, transactions in found["flaws"]
        ),
        unsettling=tuple(found["unsettling"]),
        markers=row.get("markers"),
        told_by=row.get("told_by", ""),
    )
