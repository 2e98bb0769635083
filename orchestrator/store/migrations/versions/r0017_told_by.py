"""Which node told what blocks are to a replay: what one says alone counts for its own groups only."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0017"
down_revision: str | None = "0016"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Add the column; what is there counts for all, as it did."""
    op.add_column("examined_blocks", sa.Column("told_by", sa.Text(), nullable=False, server_default=""))


def downgrade() -> None:
    """Drop it."""
    op.drop_column("examined_blocks", "told_by")
