"""Changes are found by the id of their request."""

from collections.abc import Sequence

from alembic import op

revision: str = "0014"
down_revision: str | None = "0013"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Make the index."""
    op.create_index("ix_changes_request", "changes", ["request_id", "position"])


def downgrade() -> None:
    """Drop it."""
    op.drop_index("ix_changes_request", "changes")
