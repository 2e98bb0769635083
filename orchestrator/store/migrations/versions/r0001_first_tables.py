"""The first tables."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op

revision: str = "0001"
down_revision: str | None = None
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_ACTIVE = "state NOT IN ('cancelled', 'failed', 'parked', 'queued', 'succeeded')"
_PENDING = "state NOT IN ('cancelled', 'failed', 'parked', 'succeeded')"

_position = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _where(condition: str) -> dict[str, Any]:
    return {"sqlite_where": sa.text(condition), "postgresql_where": sa.text(condition)}


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "changes",
        sa.Column("position", _position, autoincrement=True, nullable=False),
        sa.Column("change_id", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("body_hash", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("privacy_group_id", sa.Text(), nullable=False),
        sa.Column("members", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("deadline", sa.BigInteger(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("lead_id", sa.Text(), nullable=True),
        sa.Column("batch_limit", sa.Integer(), nullable=False),
        sa.Column("batch", sa.Integer(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("not_before", sa.BigInteger(), nullable=True),
        sa.Column("waiting_since", sa.BigInteger(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("plan", sa.Text(), nullable=True),
        sa.Column("attempt_id", sa.Text(), nullable=True),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("lock_block", sa.BigInteger(), nullable=True),
        sa.Column("undo_lock", sa.Boolean(), nullable=False),
        sa.Column("effect", sa.Text(), nullable=True),
        sa.Column("progress", sa.Text(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("ready_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("state <> 'queued' OR lead_id IS NULL", name=op.f("ck_changes_queued_has_no_lead")),
        sa.CheckConstraint("revision >= 0", name=op.f("ck_changes_revision")),
        sa.PrimaryKeyConstraint("position", name="pk_changes"),
        sa.UniqueConstraint("change_id", name="uq_changes_change_id"),
        sa.UniqueConstraint("request_id", name="uq_changes_request_id"),
    )
    op.create_index(
        "ix_changes_active",
        "changes",
        ["privacy_group_id", "position"],
        unique=False,
        **_where(_ACTIVE),
    )
    op.create_index("ix_changes_group", "changes", ["privacy_group_id", "position"], unique=False)
    op.create_index("ix_changes_queued", "changes", ["privacy_group_id", "position"], **_where("state = 'queued'"))
    op.create_index(
        "ix_changes_ready",
        "changes",
        ["privacy_group_id", "ready_at"],
        unique=False,
        **_where(_PENDING),
    )
    op.create_index("ix_changes_state", "changes", ["state", "position"], **_where("state <> 'queued'"))
    op.create_index(
        "uq_changes_lead",
        "changes",
        ["privacy_group_id"],
        unique=True,
        **_where(f"lead_id = change_id AND {_ACTIVE}"),
    )
    op.create_table(
        "checkpoints",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("paused_since", sa.BigInteger(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_checkpoints"),
    )
    op.create_table(
        "deletions",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_deletions"),
    )
    op.create_table(
        "lanes",
        sa.Column("privacy_group_id", sa.Text(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=True),
        sa.Column("token", sa.BigInteger(), nullable=False),
        sa.Column("lease_until", sa.BigInteger(), nullable=True),
        sa.Column("due_at", sa.BigInteger(), nullable=True),
        sa.Column("last_sequence", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("(holder IS NULL) = (lease_until IS NULL)", name=op.f("ck_lanes_lease_has_a_holder")),
        sa.PrimaryKeyConstraint("privacy_group_id", name="pk_lanes"),
    )
    op.create_index("ix_lanes_due", "lanes", ["due_at"], **_where("due_at IS NOT NULL"))
    op.create_index("ix_lanes_holder", "lanes", ["holder", "privacy_group_id"], **_where("holder IS NOT NULL"))
    op.create_table(
        "leases",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("lease_until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_leases"),
    )
    op.create_table(
        "outbox",
        sa.Column("position", _position, autoincrement=True, nullable=False),
        sa.Column("privacy_group_id", sa.Text(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("change_id", sa.Text(), nullable=True),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column("occurred_at", sa.BigInteger(), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.Column("published_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("position", name="pk_outbox"),
        sa.UniqueConstraint("privacy_group_id", "sequence", name="uq_outbox_privacy_group_id_sequence"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_outbox_group", "outbox", ["privacy_group_id", "position"], unique=False)
    op.create_index("ix_outbox_change", "outbox", ["change_id", "position"], unique=False)
    op.create_index("ix_outbox_unpublished", "outbox", ["position"], **_where("published_at IS NULL"))
    op.create_table(
        "attempts",
        sa.Column("position", _position, autoincrement=True, nullable=False),
        sa.Column("attempt_id", sa.Text(), nullable=False),
        sa.Column("change_id", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("members", sa.Text(), nullable=False),
        sa.Column("node", sa.Text(), nullable=False),
        sa.Column("private_nonce", sa.BigInteger(), nullable=False),
        sa.Column("raw", sa.LargeBinary(), nullable=False),
        sa.Column("since_block", sa.BigInteger(), nullable=False),
        sa.Column("sent_block", sa.BigInteger(), nullable=True),
        sa.Column("seen_block", sa.BigInteger(), nullable=True),
        sa.Column("pmt_hashes", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["change_id"], ["changes.change_id"], name="fk_attempts_change_id_changes"),
        sa.PrimaryKeyConstraint("position", name="pk_attempts"),
        sa.UniqueConstraint("attempt_id", name="uq_attempts_attempt_id"),
    )
    op.create_index("ix_attempts_change", "attempts", ["change_id", "position"], unique=False)
    op.create_index(
        "uq_attempts_live", "attempts", ["change_id"], unique=True, **_where("status IN ('signed', 'sent')")
    )
    op.create_table(
        "history",
        sa.Column("change_id", sa.Text(), nullable=False),
        sa.Column("revision", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("fact", sa.Text(), nullable=False),
        sa.Column("from_state", sa.Text(), nullable=False),
        sa.Column("to_state", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["change_id"], ["changes.change_id"], name="fk_history_change_id_changes"),
        sa.PrimaryKeyConstraint("change_id", "revision", name="pk_history"),
    )


def downgrade() -> None:
    """Drop the tables."""
    for table in ("history", "attempts", "outbox", "lanes", "leases", "checkpoints", "deletions", "changes"):
        op.drop_table(table)
