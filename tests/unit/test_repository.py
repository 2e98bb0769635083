"""Checks on the tree itself: what reviewers would otherwise have to look for each time."""

import ast
import functools
import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "orchestrator"
TESTS = ROOT / "tests"
LOCKS = ["requirements.txt", "requirements-dev.txt", "requirements-build.txt", "requirements-fuzz.txt"]
VAGUE = {"manager", "handler", "helper", "helpers", "util", "utils", "base", "common", "misc"}
LARGEST_MODULE_LINES = 350
NOT_OURS = {".hypothesis", ".git", ".venv", "node_modules", "__pycache__", "dist", "build"}


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def modules(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*.py") if NOT_OURS.isdisjoint(path.parts))


@functools.cache
def parsed(module: Path) -> ast.Module:
    return ast.parse(module.read_text())


def texts() -> Iterator[tuple[str, str]]:
    for path in sorted(ROOT.rglob("*")):
        parts = path.relative_to(ROOT).parts
        if not path.is_file() or any(part in NOT_OURS or part.endswith("_cache") for part in parts):
            continue
        try:
            yield relative(path), path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue


def documents() -> list[Path]:
    return [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def code_blocks(language: str) -> list[tuple[str, str]]:
    found = []
    for path in documents():
        for number, block in enumerate(
            re.findall(rf"^```{language}\n(.*?)^```", path.read_text(), re.MULTILINE | re.DOTALL), 1
        ):
            found.append((f"{relative(path)} block {number}", block))
    return found


def pinned(lock: str) -> dict[str, list[Requirement]]:
    found: dict[str, list[Requirement]] = {}
    for line in (ROOT / lock).read_text().splitlines():
        if re.match(r"[a-zA-Z0-9]", line):
            requirement = Requirement(line.removesuffix("\\").strip())
            found.setdefault(canonicalize_name(requirement.name), []).append(requirement)
    return found


def project() -> dict[str, list[Requirement]]:
    """What pyproject.toml asks for, by the lock file that must hold it."""
    text = tomllib.loads((ROOT / "pyproject.toml").read_text())
    groups = text["dependency-groups"]
    development = [line for line in groups["dev"] if isinstance(line, str)]
    return {
        "requirements.txt": [Requirement(line) for line in text["project"]["dependencies"]],
        "requirements-dev.txt": [Requirement(line) for line in development + groups["build"]],
        "requirements-build.txt": [Requirement(line) for line in groups["build"]],
        "requirements-fuzz.txt": [Requirement(line) for line in groups["fuzz"]],
    }


@pytest.mark.parametrize("lock", LOCKS)
def test_locks_name_no_place_to_download_from(lock: str) -> None:
    """A lock file has names, versions and hashes only, so that it installs from any registry."""
    text = (ROOT / lock).read_text()
    assert not re.search(r"://|--(extra-)?index-url|--find-links|--trusted-host| @ ", text)


@pytest.mark.parametrize("client", ["web3js-quorum", "interop"])
def test_the_javascript_locks_name_no_place(client: str) -> None:
    """The lock files of JavaScript clients have versions and hashes only, and ask for no money."""
    text = (TESTS / "clients" / client / "package-lock.json").read_text()
    assert "://" not in text
    packages = json.loads(text)["packages"]
    assert packages
    assert not [name for name, package in packages.items() if name and "integrity" not in package]


def test_the_locks_of_other_clients_name_no_place() -> None:
    """The Python and Go clients of acceptance tests are locked by versions and hashes, too."""
    folder = TESTS / "clients" / "interop"
    for lock in ("requirements.txt", "go/go.mod", "go/go.sum"):
        text = (folder / lock).read_text()
        assert text
        assert "://" not in text
        assert not re.search(r"^replace |--(extra-)?index-url", text, re.MULTILINE)


@pytest.mark.parametrize("lock", LOCKS)
def test_locks_hold_what_the_project_asks_for(lock: str) -> None:
    """Each requirement of pyproject.toml is locked at a version that it allows."""
    locked = pinned(lock)
    for wanted in project()[lock]:
        versions = [spec.version for pin in locked.get(canonicalize_name(wanted.name), []) for spec in pin.specifier]
        assert versions, f"{wanted} is missing in {lock}: run `make lock`"
        assert all(wanted.specifier.contains(version) for version in versions), f"{wanted} is locked at {versions}"


@pytest.mark.parametrize("lock", LOCKS)
def test_every_locked_version_has_a_hash(lock: str) -> None:
    """Nothing is installed whose content is not known."""
    lines = (ROOT / lock).read_text().splitlines()
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if re.match(r"[a-zA-Z0-9]", line):
            assert "==" in line, f"{line} is not pinned"
            assert following.strip().startswith("--hash=sha256:"), f"{line} has no hash"


def test_the_locks_agree() -> None:
    """Development uses the very versions that users get."""
    development = pinned("requirements-dev.txt")
    for lock in ("requirements.txt", "requirements-build.txt"):
        for name, pins in pinned(lock).items():
            assert [pin.specifier for pin in pins] == [pin.specifier for pin in development[name]], name


def test_nothing_names_a_place_on_one_machine() -> None:
    """No file names a home directory or a checkout of somebody's machine."""
    place = re.compile(r"(?<![\w.$}*-])/(?:work|root|home|Users)/[\w.-]")
    found = [f"{name}: {match.group()}" for name, text in texts() for match in place.finditer(text)]
    assert found == []


def test_nothing_is_left_for_later() -> None:
    """No file holds a reminder of unfinished work."""
    reminder = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|XX" + r"X|HA" + r"CK)\b")
    names = [name for name, text in texts() if not name.endswith((".json", ".jsonl", ".txt")) and reminder.search(text)]
    assert names == []


def test_modules_say_what_they_hold() -> None:
    """Each module of the package has a docstring and is short enough to read at once."""
    found = modules(SOURCE)
    assert [relative(module) for module in found if not ast.get_docstring(parsed(module))] == []
    lengths = {relative(module): len(module.read_text().splitlines()) for module in found}
    assert {name: lines for name, lines in lengths.items() if lines > LARGEST_MODULE_LINES} == {}


def test_names_say_something() -> None:
    """No module, package or class has a name that would fit anything."""
    vague = []
    for module in modules(SOURCE):
        words = set(re.split(r"[_/.]", relative(module)))
        classes = [node.name for node in ast.walk(parsed(module)) if isinstance(node, ast.ClassDef)]
        words |= {word.lower() for name in classes for word in re.findall(r"[A-Z][a-z]+", name)}
        vague += [f"{relative(module)}: {word}" for word in sorted(words & VAGUE)]
    assert vague == []


def test_every_test_states_its_claim() -> None:
    """Each test function has a docstring: its claim in a sentence."""
    silent = [
        f"{relative(module)}: {node.name}"
        for module in modules(TESTS)
        if module.name.startswith("test_")
        for node in ast.walk(parsed(module))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and not ast.get_docstring(node)
    ]
    assert silent == []


def test_documented_make_commands_exist() -> None:
    """Every ``make`` command in the documents is a target of the Makefile."""
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for document in documents():
        named = set(re.findall(r"(?:`|^)make ([a-z]+)", document.read_text(), re.MULTILINE))
        assert named <= targets, relative(document)


def test_links_in_the_documents_lead_somewhere() -> None:
    """Every link from one document to another file finds it."""
    for document in documents():
        text = document.read_text()
        for target in re.findall(r"(?:\]\(|<img src=\")(?!https?://|#|mailto:)([^)#\s\"]+)", text):
            assert (document.parent / target).exists(), f"{relative(document)} links to {target}"


def test_the_map_shows_every_folder() -> None:
    """docs/development.md names each package, each folder in one, each module beside them, and each kind of tests."""
    text = (ROOT / "docs" / "development.md").read_text("utf-8")
    drawn = set(text.partition("## Where things are")[2].split("```")[1].split())
    folders = [*SOURCE.glob("*/"), *SOURCE.glob("*/*/"), *TESTS.glob("*/")]
    wanted = {f"{path.name}/" for path in folders if NOT_OURS.isdisjoint(path.parts)}
    wanted |= {path.name for path in SOURCE.glob("*.py") if not path.name.startswith("_")}
    assert wanted - drawn == set()


def test_files_that_the_documents_name_are_there() -> None:
    """Whoever looks for a rule finds it where a document says that it stands."""
    for document in documents():
        if document.name == "CHANGELOG.md":  # it tells of what was
            continue
        for name in re.findall(r"`((?:orchestrator|tests|docs|deploy)/[\w/.-]*[\w/])`", document.read_text()):
            assert (ROOT / name).exists(), f"{relative(document)} names {name}"


@pytest.mark.parametrize(("place", "block"), code_blocks("toml"))
def test_toml_examples_parse(place: str, block: str) -> None:
    """Every TOML example in the documents is valid TOML."""
    assert tomllib.loads(block), place


@pytest.mark.parametrize(("place", "block"), code_blocks("json"))
def test_json_examples_parse(place: str, block: str) -> None:
    """Every JSON example in the documents is valid JSON."""
    assert json.loads(block), place


@pytest.mark.parametrize(("place", "block"), code_blocks("python"))
def test_python_examples_parse(place: str, block: str) -> None:
    """Every Python example in the documents is valid Python."""
    assert ast.parse(block).body, place


def test_nothing_raises_the_recursion_limit_by_being_imported() -> None:
    """With the limit that py_ecc sets, deeply nested JSON ends the process; who needs it sets the limit back."""
    found = []
    for module in [*modules(SOURCE), *modules(TESTS), *modules(ROOT / "deploy")]:
        statements = parsed(module).body
        names = [alias.name for one in statements if isinstance(one, ast.Import) for alias in one.names]
        names += [one.module or "" for one in statements if isinstance(one, ast.ImportFrom)]
        if {name.partition(".")[0] for name in names} & {"eth_account", "eth_keyfile", "py_ecc"}:
            found.append(relative(module))
    assert found == []
