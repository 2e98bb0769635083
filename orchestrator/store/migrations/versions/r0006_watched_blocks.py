"""What the watch over new blocks found."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0006"
down_revision: str | None = "0005"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "unextendable_groups",
        sa.Column("privacy_group_id", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("block_hash", sa.Text(), nullable=False),
        sa.Column("findings", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("privacy_group_id", name="pk_unextendable_groups"),
    )
    op.create_table(
        "seen_additions",
        sa.Column("transaction_hash", sa.Text(), nullable=False),
        sa.Column("addition", sa.Text(), nullable=False),
        sa.Column("sender", sa.Text(), nullable=False),
        sa.Column("block_number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("transaction_hash", name="pk_seen_additions"),
    )
    op.create_index("ix_seen_additions_addition", "seen_additions", ["addition", "block_number"])
    op.create_table(
        "watched_blocks",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("block_hash", sa.Text(), nullable=False),
        sa.Column("blocks", sa.BigInteger(), nullable=False),
        sa.Column("account_twice", sa.BigInteger(), nullable=False),
        sa.Column("newest_twice", sa.BigInteger(), nullable=True),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("repeated", sa.BigInteger(), nullable=False),
        sa.Column("newest_repeated", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_watched_blocks"),
    )


def downgrade() -> None:
    """Drop the tables."""
    for table in ("watched_blocks", "seen_additions", "unextendable_groups"):
        op.drop_table(table)
