"""The adapters have the shapes that the engine and the relay ask for; mypy checks the signatures."""

from orchestrator.engine.history.ports import HistoryStore
from orchestrator.engine.ports.store import ChangeStore
from orchestrator.events.ports import Outbox
from orchestrator.store import Database, SqlChangeStore, SqlHistoryStore, SqlOutbox
from tests.fakes.clock import JumpingClock


def _public(protocol: type) -> set[str]:
    return {name for name in vars(protocol) if not name.startswith("_")}


async def test_the_ports_are_fulfilled() -> None:
    """Every method of the ports is there."""
    async with Database("sqlite://") as database:
        store: ChangeStore = SqlChangeStore(database, JumpingClock())
        histories: HistoryStore = SqlHistoryStore(database)
        outbox: Outbox = SqlOutbox(database)
    assert _public(ChangeStore) <= set(dir(store))
    assert _public(Outbox) <= set(dir(outbox))
    assert _public(HistoryStore) <= set(dir(histories))
