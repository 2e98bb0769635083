"""Each attempt has one marker of its own; markers that nodes signed stay as hashes."""

import json
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op

from orchestrator.store.errors import SchemaVersionError

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_BATCH = 1_000
_UNDECIDED = (
    "SELECT COUNT(*) FROM attempts a JOIN changes c ON c.attempt_id = a.attempt_id "
    "WHERE a.status IN ('signed', 'sent') AND c.state NOT IN ('cancelled', 'failed', 'parked', 'queued', 'succeeded')"
)
_TRANSACTED = (
    "UPDATE changes SET transacted = :sent "
    "WHERE change_id IN (SELECT change_id FROM attempts WHERE sent_block IS NOT NULL)"
)


def upgrade() -> None:
    """Add the markers.

    Raises:
        SchemaVersionError: Transactions are on their way whose markers the nodes signed: nobody can take those back, so
            the release that sent them has to see them mined.
    """
    connection = op.get_bind()
    undecided = connection.execute(sa.text(_UNDECIDED)).scalar_one()
    if undecided:
        raise SchemaVersionError(
            f"{undecided} transactions that the release before sent are not decided yet, and this one could not take "
            "them back: run that release until `orchestrator changes` shows none that is creating, locking, adding, "
            "removing or unlocking, stop it, then migrate"
        )
    connection.execute(sa.text("UPDATE attempts SET status = 'void' WHERE status IN ('signed', 'sent')"))
    with op.batch_alter_table("attempts") as attempts:
        attempts.add_column(sa.Column("marker", sa.Text(), nullable=False, server_default=_marker([])))
        attempts.add_column(sa.Column("renewed", sa.Text(), nullable=False, server_default="[]"))
    _carry_over(connection)
    with op.batch_alter_table("attempts") as attempts:
        attempts.drop_column("pmt_hashes")
        attempts.alter_column("marker", server_default=None)
        attempts.alter_column("renewed", server_default=None)
    # A batch would make the table anew, which SQLite refuses for one that others refer to. So the default stays.
    op.execute("ALTER TABLE changes RENAME COLUMN undo_lock TO giving_up")
    op.add_column("changes", sa.Column("transacted", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("changes", sa.Column("waits_for", sa.Text(), nullable=True))
    connection.execute(sa.text(_TRANSACTED), {"sent": True})
    unlocks = sa.text("state = 'queued' AND kind = 'unlock_group'")
    op.create_index(
        "ix_changes_unlocks",
        "changes",
        ["privacy_group_id", "position"],
        sqlite_where=unlocks,
        postgresql_where=unlocks,
    )


def _carry_over(connection: sa.Connection) -> None:
    last = 0
    while True:
        rows: Sequence[Any] = connection.execute(
            sa.text("SELECT position, pmt_hashes FROM attempts WHERE position > :last ORDER BY position LIMIT :batch"),
            {"last": last, "batch": _BATCH},
        ).all()
        if not rows:
            return
        last = rows[-1].position
        known = [(row.position, json.loads(row.pmt_hashes)) for row in rows]
        connection.execute(
            sa.text("UPDATE attempts SET marker = :marker, renewed = :renewed WHERE position = :position"),
            [
                {"position": position, "marker": _marker(hashes), "renewed": json.dumps(hashes[:-1])}
                for position, hashes in known
            ],
        )


def _marker(hashes: list[str]) -> str:
    empty = {"account": "", "key": "", "payload_key": "", "gas_limit": 0, "gas_price": 0, "chain_id": 0, "raw": ""}
    return json.dumps(empty | {"pmt_hash": hashes[-1] if hashes else ""}, separators=(",", ":"))


def downgrade() -> None:
    """Refuse: markers of our own are not known to the release before.

    Raises:
        SchemaVersionError: Always.
    """
    raise SchemaVersionError("there is no way back from revision 0002: restore the backup that was made before")
