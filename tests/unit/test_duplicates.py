"""Nothing is written twice: no two places share six lines of statements."""

import ast
import os
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[2]
INSTALLED = frozenset({".venv", "node_modules", "build"})
LEAST = 6
"""Lines that stand twice. Below that it is a call with the same arguments, or how a loop begins."""

Lines = list[tuple[int, str]]


def code_lines(path: Path) -> Lines:
    """Return a file's lines with their numbers, without indentation, blank ones and comments."""
    stripped = ((number, line.strip()) for number, line in enumerate(path.read_text("utf-8").splitlines(), 1))
    return [(number, line) for number, line in stripped if line and not line.startswith("#")]


def statement_lines(path: Path) -> set[int]:
    """Return the numbers of the lines that functions execute: no signatures, docstrings, imports or declarations."""
    found: set[int] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        for statement in node.body:
            is_definition = isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            is_text = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
            if not is_definition and not is_text:
                found.update(range(statement.lineno, (statement.end_lineno or statement.lineno) + 1))
    return found


def duplicates(paths: Iterable[Path]) -> list[str]:
    """Return the places that stand twice.

    Only files that share lines at all are parsed: that takes a tenth of the time.
    """
    lines = {path: code_lines(path) for path in paths}
    places: dict[int, list[tuple[Path, int]]] = defaultdict(list)
    for path, known in lines.items():
        texts = [text for _, text in known]
        for start in range(len(known) - LEAST + 1):
            places[hash(tuple(texts[start : start + LEAST]))].append((path, start))
    several = [found for found in places.values() if len(found) > 1]
    statements = {path: statement_lines(path) for path in {path for found in several for path, _ in found}}
    told = []
    for found in several:
        executed = [
            f"{path}:{lines[path][start][0]}"
            for path, start in found
            if all(number in statements[path] for number, _ in lines[path][start : start + LEAST])
        ]
        if len(executed) > 1:
            told.append(" ~ ".join(executed))
    return told


def test_no_code_stands_twice() -> None:
    """No six lines that are executed stand in two places of the program and its tests."""
    files: list[Path] = []
    for top in ("orchestrator", "tests", "docs"):
        for folder, below, names in os.walk(ROOT / top):
            # What is installed beside foreign clients of the tests is not gone into: it is not ours.
            below[:] = sorted(name for name in below if name not in INSTALLED)
            files += [Path(folder, name) for name in sorted(names) if name.endswith(".py")]
    assert duplicates(files) == []


def test_a_copied_rule_is_found(tmp_path: Path) -> None:
    """Six lines of two functions are told with both places; a signature, imports and docstrings are not."""
    copied = "".join(f"    value{number} = given + {number}\n" for number in range(LEAST))
    signature = (
        "def one(\n    first: int,\n    second: int,\n    third: int,\n    fourth: int,\n    given: int,\n) -> None:\n"
    )
    told = '    """Say it.\n\n    With\n    many\n    lines\n    of\n    text.\n    """\n'
    first, second = tmp_path / "first.py", tmp_path / "second.py"
    for path, body in ((first, copied), (second, "    if given:\n" + copied.replace("    ", "        "))):
        path.write_text("from a import (\n    b,\n    c,\n    d,\n    e,\n    f,\n)\n" + signature + told + body)
    assert duplicates([first, second]) == [f"{first}:23 ~ {second}:24"]
