"""What people call groups, which chain each node was on, and how many private transactions a block has."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0009"
down_revision: str | None = "0008"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Make the tables."""
    op.add_column("examined_blocks", sa.Column("markers", sa.BigInteger(), nullable=True))
    op.create_table(
        "group_names",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("privacy_group_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_group_names"),
    )
    op.create_table(
        "node_chains",
        sa.Column("node", sa.Text(), nullable=False),
        sa.Column("chain_id", sa.BigInteger(), nullable=False),
        sa.Column("genesis_hash", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("block_hash", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("node", name="pk_node_chains"),
    )


def downgrade() -> None:
    """Drop them."""
    for table in ("node_chains", "group_names"):
        op.drop_table(table)
    with op.batch_alter_table("examined_blocks") as examined_blocks:
        examined_blocks.drop_column("markers")
