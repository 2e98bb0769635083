"""What a store with hundreds of thousands of changes needs: rare status events are found, the audit log can be cut.

Entries of the audit log may be deleted through the newest cut only; a cut names an entry that is there, by its hash,
with others behind it.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0015"
down_revision: str | None = "0014"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_RARE = sa.text(
    "type IN ('membership.group.addition_repeated.v1', 'membership.group.addition_unexpected.v1', "
    "'membership.group.converged.v1', 'membership.group.diverged.v1', 'membership.group.unextendable.v1')"
)
_STAYS = "entries of the audit log stay as they are"
_NO_CUT = "a cut of the audit log names an entry of it by its hash, not its newest"
_CUT_STAYS = "cuts of the audit log stay as they are"
_NEWEST_CUT = "(SELECT coalesce(max(number), 0) FROM audit_cuts)"
_NAMES_AN_ENTRY = "EXISTS (SELECT 1 FROM audit_log WHERE number = NEW.number AND entry_hash = NEW.entry_hash)"
_HAS_OTHERS_BEHIND = "EXISTS (SELECT 1 FROM audit_log WHERE number > NEW.number)"


def upgrade() -> None:
    """Make the index and the table of cuts, and let what was cut off go."""
    op.create_index("ix_outbox_rare", "outbox", ["position"], sqlite_where=_RARE, postgresql_where=_RARE)
    op.create_table(
        "audit_cuts",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("entry_hash", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_audit_cuts"),
    )
    if op.get_bind().dialect.name == "postgresql":
        _postgresql()
        return
    op.execute("DROP TRIGGER audit_log_stays_delete")
    op.execute(
        f"CREATE TRIGGER audit_log_stays_delete BEFORE DELETE ON audit_log WHEN OLD.number > {_NEWEST_CUT} "
        f"BEGIN SELECT RAISE(ABORT, '{_STAYS}'); END"
    )
    op.execute(
        f"CREATE TRIGGER audit_cuts_insert BEFORE INSERT ON audit_cuts "
        f"WHEN NOT ({_NAMES_AN_ENTRY} AND {_HAS_OTHERS_BEHIND}) BEGIN SELECT RAISE(ABORT, '{_NO_CUT}'); END"
    )
    for event in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER audit_cuts_{event.lower()} BEFORE {event} ON audit_cuts "
            f"BEGIN SELECT RAISE(ABORT, '{_CUT_STAYS}'); END"
        )


def _postgresql() -> None:
    op.execute(
        "CREATE OR REPLACE FUNCTION audit_log_stays() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"IF TG_OP = 'DELETE' THEN IF OLD.number <= {_NEWEST_CUT} THEN RETURN OLD; END IF; END IF; "
        f"RAISE EXCEPTION '{_STAYS}'; END $$"
    )
    op.execute(
        "CREATE OR REPLACE FUNCTION audit_cut_fits() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"IF {_NAMES_AN_ENTRY} AND {_HAS_OTHERS_BEHIND} THEN RETURN NEW; END IF; RAISE EXCEPTION '{_NO_CUT}'; END $$"
    )
    op.execute(
        "CREATE OR REPLACE FUNCTION audit_cuts_stay() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{_CUT_STAYS}'; END $$"
    )
    for name, when, function in (
        ("audit_cuts_insert", "BEFORE INSERT ON audit_cuts FOR EACH ROW", "audit_cut_fits"),
        ("audit_cuts_change", "BEFORE UPDATE OR DELETE ON audit_cuts FOR EACH ROW", "audit_cuts_stay"),
        ("audit_cuts_truncate", "BEFORE TRUNCATE ON audit_cuts FOR EACH STATEMENT", "audit_cuts_stay"),
    ):
        op.execute(f"CREATE TRIGGER {name} {when} EXECUTE FUNCTION {function}()")


def downgrade() -> None:
    """Drop them; what was cut off stays away, and nothing of the rest may go."""
    op.drop_index("ix_outbox_rare", "outbox")
    op.drop_table("audit_cuts")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION audit_cut_fits()")
        op.execute("DROP FUNCTION audit_cuts_stay()")
        op.execute(
            "CREATE OR REPLACE FUNCTION audit_log_stays() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN RAISE EXCEPTION '{_STAYS}'; END $$"
        )
        return
    op.execute("DROP TRIGGER audit_log_stays_delete")
    op.execute(
        f"CREATE TRIGGER audit_log_stays_delete BEFORE DELETE ON audit_log BEGIN SELECT RAISE(ABORT, '{_STAYS}'); END"
    )
