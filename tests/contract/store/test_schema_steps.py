"""Every migration is one that programs of the release before live through, or says that it is not."""

import pytest

from tests.contract.store.schema_steps import flaws, rendered


def test_migrations_only_add(postgresql_url: str) -> None:
    """What is not marked as a contract step makes tables and adds columns, and nothing else."""
    steps = list(rendered(postgresql_url))
    assert all(statements for _, _, statements in steps)
    first = next(place for place, (_, contract, _) in enumerate(steps) if contract)
    # Programs of before that one refuse every revision that they don't know.
    found = {revision: list(flaws(statements)) for revision, contract, statements in steps[first + 1 :] if not contract}
    assert {revision: what for revision, what in found.items() if what} == {}
    # The revisions of before have all that is looked for, and are seen to have it.
    seen = {revision for revision, _, statements in steps[:first] if list(flaws(statements))}
    assert {"0002", "0005"} <= seen
    assert {"0001", "0003", "0004", "0010"}.isdisjoint(seen)


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TABLE group_names",
        "ALTER TABLE lanes DROP COLUMN source",
        "ALTER TABLE lanes RENAME COLUMN source TO origin",
        "ALTER TABLE lanes RENAME TO queues",
        "ALTER TABLE lanes ALTER COLUMN source TYPE INTEGER",
        "ALTER TABLE lanes ALTER COLUMN source SET NOT NULL",
        "ALTER TABLE lanes ADD COLUMN rank BIGINT NOT NULL",
        "ALTER TABLE lanes ADD COLUMN rank BIGINT DEFAULT nextval('ranks') NOT NULL",
        "ALTER TABLE lanes ADD COLUMN rank BIGINT UNIQUE",
        "ALTER TABLE lanes ADD CONSTRAINT ck_lanes_rank CHECK (token > 0)",
        "CREATE INDEX ix_lanes_token ON lanes (token)",
        'CREATE UNIQUE INDEX uq_lanes_token ON "lanes" (token)',
        "DROP INDEX ix_lanes_due",
        "UPDATE lanes SET source = 'x'",
        "DELETE FROM outbox",
        "CREATE TRIGGER stays BEFORE UPDATE ON lanes FOR EACH ROW EXECUTE FUNCTION stays()",
        "DROP FUNCTION audit_log_stays()",
    ],
)
def test_what_takes_something_away_is_seen(statement: str) -> None:
    """Each way of breaking a program of the release before is told, also behind steps that are fine."""
    assert len(list(flaws(["CREATE TABLE wishes (wish TEXT)", statement]))) == 1


def test_what_is_new_may_have_anything() -> None:
    """A table of the migration's own may have indexes, constraints and triggers; others get columns that may lack."""
    assert not list(
        flaws(
            [
                "\nCREATE TABLE wishes (\n\twish TEXT NOT NULL\n)\n\n",
                "CREATE UNIQUE INDEX ix_wishes ON wishes (wish)",
                "ALTER TABLE wishes ADD CONSTRAINT c CHECK (wish <> '')",
                "CREATE TRIGGER stays BEFORE UPDATE ON wishes FOR EACH ROW EXECUTE FUNCTION stays()",
                "ALTER TABLE lanes ADD COLUMN rank BIGINT",
                "ALTER TABLE lanes ADD COLUMN rank BIGINT DEFAULT '0' NOT NULL",
                "UPDATE alembic_version SET version_num='0014' WHERE alembic_version.version_num = '0013'",
                "SELECT pg_catalog.version()",
            ]
        )
    )
