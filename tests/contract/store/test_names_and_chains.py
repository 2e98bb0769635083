"""Names of groups and chains of nodes on both databases."""

from orchestrator.engine.nodes.chain_guard import NodeChain
from orchestrator.store.commits.database import Database
from orchestrator.store.stores.chain_store import SqlNodeChains
from orchestrator.store.stores.name_store import SqlGroupNames


async def test_a_name_stands_for_one_group_for_good(database: Database) -> None:
    """The first group that a name is given to keeps it; a group may have several names."""
    names = SqlGroupNames(database)
    assert await names.give("trade", "group a") == "group a"
    assert await names.give("trade", "group b") == "group a"
    assert await names.give("loans", "group a") == "group a"
    assert await names.names() == {"trade": "group a", "loans": "group a"}


async def test_the_newest_chain_of_a_node_is_kept(database: Database) -> None:
    """What is kept of a node takes the place of what was."""
    chains = SqlNodeChains(database)
    first = NodeChain(chain_id=1337, genesis_hash="0x1", number=0, block_hash="0x1")
    later = NodeChain(chain_id=1337, genesis_hash="0x1", number=900, block_hash="0x9")
    for chain in (first, later):
        await chains.keep("member1", chain)
    assert await chains.chains() == {"member1": later}
