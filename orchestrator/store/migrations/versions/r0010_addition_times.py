"""What was forecast and measured of additions."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0010"
down_revision: str | None = "0009"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "addition_times",
        sa.Column("change_id", sa.Text(), nullable=False),
        sa.Column("quantity", sa.Text(), nullable=False),
        sa.Column("enclave_key", sa.Text(), nullable=False),
        sa.Column("node", sa.Text(), nullable=False),
        sa.Column("besu_version", sa.Text(), nullable=False),
        sa.Column("transactions", sa.BigInteger(), nullable=False),
        sa.Column("blocks", sa.BigInteger(), nullable=False),
        sa.Column("expected_seconds", sa.Float(), nullable=True),
        sa.Column("taken_seconds", sa.Float(), nullable=True),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("change_id", "quantity", "enclave_key", name="pk_addition_times"),
    )
    op.create_index("ix_addition_times_node", "addition_times", ["node", "besu_version", "quantity", "at"])


def downgrade() -> None:
    """Drop it."""
    op.drop_table("addition_times")
