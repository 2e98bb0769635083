"""The durable record of changes, attempts and outgoing events, in SQLite or PostgreSQL.

`migrate` makes the tables, `Database` opens them; `SqlChangeStore` and `SqlHistoryStore` are what the engine
uses, `SqlOutbox` the relay.
"""

from orchestrator.store.commits.database import Database
from orchestrator.store.commits.schema_version import migrate, schema_version
from orchestrator.store.stores.change_store import SqlChangeStore
from orchestrator.store.stores.history_store import SqlHistoryStore
from orchestrator.store.stores.outbox_store import SqlOutbox

__all__ = ["Database", "SqlChangeStore", "SqlHistoryStore", "SqlOutbox", "migrate", "schema_version"]
