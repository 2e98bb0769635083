"""What each migration does to tables that programs of the release before work with, as PostgreSQL is told it."""

import re
from collections.abc import Iterable, Iterator

import sqlalchemy as sa
from alembic import command
from alembic.script import ScriptDirectory

from orchestrator.store.commits.schema_version import _config
from orchestrator.store.database.connections import engine_for, normalised

_NAME = r'"?(\w+)"?'
_OWN = frozenset({"alembic_version", "oldest_program"})
_CREATED = re.compile(rf"^CREATE TABLE {_NAME}")
_ABOUT = tuple(
    re.compile(pattern)
    for pattern in (
        rf"^ALTER TABLE (?:ONLY )?{_NAME}",
        rf"^DROP TABLE (?:IF EXISTS )?{_NAME}",
        rf"^CREATE (?:UNIQUE )?INDEX \w+ ON {_NAME}",
        rf"^(?:UPDATE|DELETE FROM|LOCK TABLE|TRUNCATE) {_NAME}",
        rf"^CREATE (?:OR REPLACE )?(?:CONSTRAINT )?TRIGGER .* ON {_NAME}",
        rf"^DROP TRIGGER .* ON {_NAME}",
    )
)
_ADDED = re.compile(r"^ALTER TABLE \S+ ADD COLUMN \S+ (?P<kind>.*)$")
_REMOVED = re.compile(r"^(?:DROP|ALTER (?:INDEX|TYPE|SEQUENCE|SCHEMA)) ")


def flaws(statements: Iterable[str]) -> Iterator[str]:
    """Return the statements of one migration that a program of before, at work beside it, can't live with.

    It may make tables, with whatever belongs to them, and add columns to others: such as may be left out of an INSERT,
    and are filled in without a look at each row.
    """
    created: set[str] = set(_OWN)
    for statement in (" ".join(text.split()) for text in statements):
        if made := _CREATED.match(statement):
            created.add(made[1])
            continue
        about = next((found[1] for pattern in _ABOUT if (found := pattern.match(statement))), None)
        if about in created:
            continue
        if added := _ADDED.match(statement):
            if "NOT NULL" in added["kind"] and "DEFAULT" not in added["kind"]:
                yield f"{statement}: who does not know the column can't insert a row"
            elif re.search(r"DEFAULT .*\(", added["kind"]):
                yield f"{statement}: a computed default is written into each row, with the table locked"
            elif re.search("UNIQUE|PRIMARY KEY|CHECK|REFERENCES", added["kind"]):
                yield f"{statement}: rows are looked through with the table locked"
        elif about is not None or _REMOVED.match(statement):
            yield statement


def rendered(url: str) -> Iterator[tuple[str, bool, list[str]]]:
    """Migrate an empty PostgreSQL database, and return each revision, whether it is a contract step, and statements."""
    engine = engine_for(normalised(url))
    said: list[str] = []
    config = _config()
    scripts = list(reversed(list(ScriptDirectory.from_config(config).walk_revisions())))

    @sa.event.listens_for(engine, "before_cursor_execute")
    def _note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        said.append(statement)

    with engine.begin() as connection:
        config.attributes["connection"] = connection
        for script in scripts:
            said.clear()
            command.upgrade(config, script.revision)
            yield script.revision, bool(getattr(script.module, "contract", False)), list(said)
    engine.dispose()
