"""Where the files of deploy/ are, and how the tests read them."""

from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped] # it has no types of its own

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "deploy"
COMPOSE = DEPLOY / "compose"
CHART = DEPLOY / "helm" / "orchestrator"
CONTAINER = DEPLOY / "container"


def yaml_of(path: Path) -> dict[str, Any]:
    """A file of YAML with one mapping, anchors and merges resolved."""
    found = yaml.safe_load(path.read_text())
    assert isinstance(found, dict)
    return found


def directives(path: Path) -> list[tuple[str, str]]:
    """The settings of a unit, in order."""
    lines = [line.partition("=") for line in path.read_text().splitlines() if "=" in line and line[0] not in "#;["]
    return [(name, value) for name, _, value in lines]
