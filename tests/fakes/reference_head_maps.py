"""The measured model of head maps, where it lies beside the repository, as a `tests.fakes.head_maps.HeadMaps`."""

import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.fakes.head_maps import TRUTH, Act

MODEL = Path(__file__).parents[3] / "shared" / "besu" / "model" / "replay_model.py"


def present() -> bool:
    """Return whether it is there."""
    return MODEL.is_file()


def _loaded() -> Any:
    if "replay_model" not in sys.modules:
        spec = importlib.util.spec_from_file_location("replay_model", MODEL)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules["replay_model"] = module
        spec.loader.exec_module(module)
    return sys.modules["replay_model"]


class ReferenceWorld:
    """The reference model.

    Args:
        names: The nodes beside ``T``.
    """

    def __init__(self, *names: str) -> None:
        self._model = _loaded()
        self._world = self._model.World([TRUTH, *names])

    @property
    def head(self) -> int:
        return int(self._world.b)

    def mine(self, acts: Sequence[Act], *, replayable: bool = True) -> None:
        self._world.mine([(act.group, act.kind, act.keys, act.sender) for act in acts], unreplayable=not replayable)

    def root(self, node: str, group: str, block: int) -> str:
        return ".".join(str(tx[1]) for tx in self._world.nodes[node].root_at(group, block))

    def blocks(self, group: str) -> list[tuple[int, str]]:
        numbers = sorted(block for block, name in self._world.nodes[TRUTH].meta if name == group)
        return [(number, self.root(TRUTH, group, number)) for number in numbers]

    def members(self, group: str) -> frozenset[str]:
        found, _ = self._model.state(self._world.nodes[TRUTH].root_at(group, self.head))
        return frozenset(found)

    def stands(self, node: str) -> bool:
        return bool(self._world.nodes[node].halted)

    def sends_whole(self, node: str, group: str) -> bool:
        def serials(name: str) -> list[int]:
            return [tx[1] for tx, _, _ in self._world.nodes[name].bundle(group, self.head) or []]

        return serials(node) == serials(TRUTH)
