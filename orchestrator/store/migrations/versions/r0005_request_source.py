"""Requests are recognised by source and id together; lanes know whose change made them due.

The unique column keeps its constraint and gets another name: SQLite can't drop a constraint without making the table
anew, which the tables that refer to it forbid.
"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op

revision: str = "0005"
down_revision: str | None = "0004"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_PENDING = "state NOT IN ('cancelled', 'failed', 'parked', 'succeeded')"


def _where(condition: str) -> dict[str, Any]:
    return {"sqlite_where": sa.text(condition), "postgresql_where": sa.text(condition)}


def upgrade() -> None:
    """Alter the tables."""
    op.execute("ALTER TABLE changes RENAME COLUMN request_id TO request_key")
    op.add_column("changes", sa.Column("request_id", sa.Text(), nullable=False, server_default=""))
    op.add_column("changes", sa.Column("source", sa.Text(), nullable=False, server_default=""))
    op.execute("UPDATE changes SET request_id = request_key")
    op.create_index("ix_changes_source", "changes", ["source", "account"], unique=False, **_where(_PENDING))
    op.add_column("lanes", sa.Column("source", sa.Text(), nullable=False, server_default=""))
    op.create_index("ix_lanes_source", "lanes", ["source", "due_at"], unique=False, **_where("due_at IS NOT NULL"))


def downgrade() -> None:
    """Alter them back; requests of two sources under one id can't be told apart then."""
    op.drop_index("ix_lanes_source", "lanes")
    op.drop_column("lanes", "source")
    op.drop_index("ix_changes_source", "changes")
    op.drop_column("changes", "source")
    op.execute("UPDATE changes SET request_key = request_id")
    op.drop_column("changes", "request_id")
    op.execute("ALTER TABLE changes RENAME COLUMN request_key TO request_id")
