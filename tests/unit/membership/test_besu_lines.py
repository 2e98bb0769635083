"""Besu's lines: one table, and nobody else compares versions with numbers of its own."""

import ast
from pathlib import Path

import pytest

import orchestrator
from orchestrator.membership import besu_lines
from orchestrator.membership.besu_lines import Version, dotted, has_bytes_abi, unlock_works

PACKAGE = Path(orchestrator.__file__).parent


@pytest.mark.parametrize(
    ("version", "bytes_abi", "unlock"),
    [((20, 10, 4), False, False), ((21, 7, 3), False, False), ((21, 7, 4), False, True), ((22, 10, 0), True, True)],
)
def test_the_dialect_and_the_unlock_follow_the_line(version: Version, bytes_abi: bool, unlock: bool) -> None:
    """Each difference begins with the version that real nodes showed it on."""
    assert (has_bytes_abi(version), unlock_works(version)) == (bytes_abi, unlock)
    assert dotted(version) == f"{version[0]}.{version[1]}.{version[2]}"


def _versions(tree: ast.Module) -> list[int]:
    """The lines on which a version of Besu is written out."""
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Tuple)
        and len(node.elts) == 3
        and all(isinstance(part, ast.Constant) and type(part.value) is int for part in node.elts)
        and isinstance(node.elts[0], ast.Constant)
        and node.elts[0].value in range(20, 27)
    ]


def test_a_difference_between_lines_takes_one_table() -> None:
    """Whoever adds one touches this table, and the emulated nodes' own, which are the judge of it."""
    own = Path(besu_lines.__file__)
    others = [path for path in PACKAGE.rglob("*.py") if path != own and "devnet" not in path.parts]
    found = [f"{path}:{line}" for path in others for line in _versions(ast.parse(path.read_text("utf-8")))]
    assert found == []
    assert len(_versions(ast.parse(own.read_text("utf-8")))) == 6
