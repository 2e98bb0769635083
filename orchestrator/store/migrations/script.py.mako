"""${message}."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = ${repr(up_revision)}
down_revision: str | None = ${repr(down_revision)}
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

contract: bool = False  # True: programs that do not know this revision can't work with it any more (docs/upgrades.md)


def upgrade() -> None:
    """Make the tables of this revision from those of the one before."""
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    """Make the tables of the revision before."""
    ${downgrades if downgrades else "pass"}
