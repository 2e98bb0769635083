"""Which programs can work with these tables, so that one that does not know the revision knows whether it may."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0016"
down_revision: str | None = "0015"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

contract: bool = True  # programs of before do not look at this table: they refuse every revision that they don't know


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "oldest_program",
        sa.Column("revision", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("revision", name="pk_oldest_program"),
    )


def downgrade() -> None:
    """Drop it."""
    op.drop_table("oldest_program")
