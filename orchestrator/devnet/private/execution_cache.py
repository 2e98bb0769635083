"""Results of private transactions that all nodes share. Pure."""

from orchestrator.devnet.chain.chain import Block
from orchestrator.devnet.private.contract import BlockContext
from orchestrator.devnet.private.execution import Execution
from orchestrator.devnet.private.private_state import GroupState


class ExecutionCache:
    """Results by state, transaction and block: pure, so nodes share them, and with them the memory."""

    def __init__(self) -> None:
        self._known: dict[tuple[bytes, bytes, bytes], Execution] = {}

    def get(self, state: GroupState, pmt_hash: bytes, block: Block) -> Execution | None:
        """A result that is known."""
        return self._known.get((state.root, pmt_hash, block.hash))

    def keep(self, state: GroupState, pmt_hash: bytes, block: Block, execution: Execution) -> None:
        """Remember a result that changed the state."""
        if execution.record is not None:
            self._known[state.root, pmt_hash, block.hash] = execution


def context_of(block: Block) -> BlockContext:
    """What private code sees of its block."""
    return BlockContext(number=block.number, parent_hash=block.parent_hash, coinbase=block.miner)
