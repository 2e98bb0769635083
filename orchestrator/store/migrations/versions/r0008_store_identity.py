"""A name of the store's own, by which its status events are told from those of another store.

Events that are in the store already keep the id and the source that they were published with.
"""

import uuid
from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0008"
down_revision: str | None = "0007"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Make the table with its one row."""
    made = op.create_table(
        "identity",
        sa.Column("store_id", sa.Text(), nullable=False),
        sa.Column("former_through", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("store_id", name="pk_identity"),
    )
    connection = op.get_bind()
    newest = connection.execute(sa.text("SELECT max(position) FROM outbox")).scalar_one() or 0
    op.bulk_insert(made, [{"store_id": str(uuid.uuid4()), "former_through": newest}])


def downgrade() -> None:
    """Drop it; what was published since then is published under other ids by an earlier program."""
    op.drop_table("identity")
