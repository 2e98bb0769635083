"""The trace that a change is in, and what its status events say of it."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0013"
down_revision: str | None = "0012"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_OF_EVENTS = ("traceparent", "tracestate")


def upgrade() -> None:
    """Add the columns; changes and events that are there are in no trace."""
    op.add_column("changes", sa.Column("trace", sa.Text()))
    for name in _OF_EVENTS:
        op.add_column("outbox", sa.Column(name, sa.Text(), nullable=False, server_default=""))


def downgrade() -> None:
    """Drop them."""
    for name in _OF_EVENTS:
        op.drop_column("outbox", name)
    op.drop_column("changes", "trace")
