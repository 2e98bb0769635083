"""What a store with hundreds of thousands of changes needs: rare status events are found among all others."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0014"
down_revision: str | None = "0013"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_RARE = sa.text(
    "type IN ('membership.group.addition_repeated.v1', 'membership.group.addition_unexpected.v1', "
    "'membership.group.converged.v1', 'membership.group.diverged.v1', 'membership.group.unextendable.v1')"
)


def upgrade() -> None:
    """Make their index."""
    op.create_index("ix_outbox_rare", "outbox", ["position"], sqlite_where=_RARE, postgresql_where=_RARE)


def downgrade() -> None:
    """Drop it."""
    op.drop_index("ix_outbox_rare", "outbox")
