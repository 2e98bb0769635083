"""Groups' histories and nodes' replays, as far as they were read."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "group_blocks",
        sa.Column("privacy_group_id", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("block_hash", sa.Text(), nullable=False),
        sa.Column("state_root", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("privacy_group_id", "number", name="pk_group_blocks"),
    )
    op.create_table(
        "examined_blocks",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("block_hash", sa.Text(), nullable=False),
        sa.Column("findings", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_examined_blocks"),
    )
    op.create_table(
        "membership_logs",
        sa.Column("node_key", sa.Text(), nullable=False),
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("privacy_group_id", sa.Text(), nullable=False),
        sa.Column("block_number", sa.BigInteger(), nullable=False),
        sa.Column("block_hash", sa.Text(), nullable=False),
        sa.Column("member", sa.Text(), nullable=False),
        sa.Column("added", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("node_key", "position", name="pk_membership_logs"),
    )
    op.create_table(
        "history_marks",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("block_hash", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "name", name="pk_history_marks"),
    )


def downgrade() -> None:
    """Drop the tables."""
    for table in ("history_marks", "membership_logs", "examined_blocks", "group_blocks"):
        op.drop_table(table)
