"""The repair of a lost addition belongs to the change that made it."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0004"
down_revision: str | None = "0003"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Add the column."""
    op.add_column("changes", sa.Column("repair", sa.Text(), nullable=True))


def downgrade() -> None:
    """Drop the column."""
    op.drop_column("changes", "repair")
