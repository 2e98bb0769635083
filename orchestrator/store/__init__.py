"""The durable record of changes, attempts and outgoing events, in SQLite or PostgreSQL.

`migrate` makes the tables, `Database` opens them; `SqlChangeStore` and `SqlHistoryStore` are what the engine
uses, `SqlOutbox` the relay.
"""

from orchestrator.store.change_store import SqlChangeStore
from orchestrator.store.database import Database
from orchestrator.store.history_store import SqlHistoryStore
from orchestrator.store.outbox_store import SqlOutbox
from orchestrator.store.schema_version import migrate, schema_version

__all__ = ["Database", "SqlChangeStore", "SqlHistoryStore", "SqlOutbox", "migrate", "schema_version"]
