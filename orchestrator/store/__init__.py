"""The durable record of changes, attempts and outgoing events, in SQLite or PostgreSQL.

`migrate` makes the tables, `Database` opens them; `SqlChangeStore` and `SqlHistoryStore` are what the engine
uses, `SqlOutbox` the relay.

What is stored is decided elsewhere: the ports are the engine's and the events' (`engine.ports`, `events.ports`), and a
unit of work only makes sure that it is all or nothing, and in order. What a guard keeps in files is in `guard`.
"""

from orchestrator.store.commits.database import Database
from orchestrator.store.commits.schema_version import migrate, schema_version
from orchestrator.store.stores.change_store import SqlChangeStore
from orchestrator.store.stores.history_store import SqlHistoryStore
from orchestrator.store.stores.outbox_store import SqlOutbox

__all__ = ["Database", "SqlChangeStore", "SqlHistoryStore", "SqlOutbox", "migrate", "schema_version"]
