"""`ChainRecord` of `engine.nodes.chain_guard` on SQL."""

from dataclasses import asdict
from functools import partial
from typing import Final

import sqlalchemy as sa

from orchestrator.engine.nodes.chain_guard import NodeChain
from orchestrator.store.commits.database import Database
from orchestrator.store.commits.transaction import Transaction
from orchestrator.store.schema import node_chains
from orchestrator.store.units.histories import upsert_over

_KEY: Final = ""
"""What these units lock belongs to no group."""
_PUT = upsert_over(node_chains)


class SqlNodeChains:
    """Which chain each node was on.

    Args:
        database: An open database.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def chains(self) -> dict[str, NodeChain]:
        """Return the chains by the nodes' names."""
        return await self._database.read(_chains)

    async def keep(self, node: str, chain: NodeChain) -> None:
        """Remember which chain a node is on."""
        await self._database.write(partial(_keep, node=node, chain=chain), key=_KEY)


def _chains(connection: sa.Connection) -> dict[str, NodeChain]:
    rows = connection.execute(sa.select(node_chains)).mappings()
    fields = NodeChain.__dataclass_fields__
    return {row["node"]: NodeChain(**{name: row[name] for name in fields}) for row in rows}


def _keep(transaction: Transaction, *, node: str, chain: NodeChain) -> None:
    connection = transaction.connection
    connection.execute(_PUT[connection.dialect.name], [{"node": node, **asdict(chain)}])
