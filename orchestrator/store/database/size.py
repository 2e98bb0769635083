"""How large a store is: what it takes on disk, and how many rows the tables have that grow with the work done."""

from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from orchestrator.store.schema import attempts, changes, history, metadata, outbox

GROWING = (changes, attempts, history, outbox)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSize:
    """How large a store is.

    Attributes:
        size_bytes: On disk, indexes included.
        rows: By table; PostgreSQL's own estimate where it has one.
    """

    size_bytes: int
    rows: Mapping[str, int]


_TABLES = sa.text(
    "SELECT relname, reltuples, pg_total_relation_size(oid) FROM pg_class "
    "WHERE relkind IN ('r', 'p') AND relnamespace = current_schema()::regnamespace"
)
_FILE = sa.text("SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()")


def store_size(connection: sa.Connection) -> StoreSize:
    """Measure the store: on SQLite by counting, on PostgreSQL without reading the tables."""
    if connection.dialect.name != "postgresql":
        size_bytes = int(connection.execute(_FILE).scalar_one())
        return StoreSize(size_bytes=size_bytes, rows={table.name: _count(connection, table) for table in GROWING})
    found = {name: (int(rows), int(size)) for name, rows, size in connection.execute(_TABLES)}
    rows = {}
    for table in GROWING:
        estimate, _ = found.get(table.name, (-1, 0))
        # Not analysed so far, hence small enough to count.
        rows[table.name] = estimate if estimate >= 0 else _count(connection, table)
    return StoreSize(size_bytes=sum(size for name, (_, size) in found.items() if name in metadata.tables), rows=rows)


def _count(connection: sa.Connection, table: sa.Table) -> int:
    return int(connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())
