"""Code in the documents: each block is run by some test, or is plain text; commands in plain text exist."""

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from orchestrator.cli.main import app
from orchestrator.engine.intake.requests import InvalidRequestError
from orchestrator.engine.intake.senders import request_by
from orchestrator.events.webhooks.signatures import signature
from tests.fakes.clock import START
from tests.unit.engine.intake.test_senders import KEYS, SENDERS, event, trigger

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```([a-z]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

RUN = {
    "docs/quickstart.md": "tests/acceptance/test_quickstart.py",
    "docs/library.md": "tests/contract/besu/test_library_document.py",
    "docs/deployment.md": "tests/packaging/test_deployment.py",
    "docs/servers.md": "tests/integration/servers/test_documented_blocks.py",
}
"""Documents whose blocks are run as they stand, and by what."""
RUN_HERE = {("docs/devnet.md", "python"), ("docs/events.md", "python"), ("docs/security.md", "python")}
PLAIN = {"text", "mermaid", "json", "toml", ""}
"""JSON and TOML are parsed by `tests/unit/test_repository.py`."""


def blocks() -> Iterator[tuple[str, str, str, str]]:
    """Yield each block: its document, the line before it, its language, its text."""
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        text = path.read_text("utf-8")
        for found in BLOCK.finditer(text):
            before = text[: found.start()].rstrip().rpartition("\n")[2]
            yield path.relative_to(ROOT).as_posix(), before, found.group(1), found.group(2)


def test_every_block_is_run_or_plain_text() -> None:
    """A block that is called code and that no test runs would be wrong one day, and nobody would see it."""
    unrun = [
        f"{document}: {text.splitlines()[0]}"
        for document, before, language, text in blocks()
        if language not in PLAIN
        and document not in RUN
        and (document, language) not in RUN_HERE
        and not before.startswith("<!-- example: ")  # run by tests/acceptance/interop
        and not all(line.startswith("make ") for line in text.splitlines())  # targets: tests/unit/test_repository.py
    ]
    assert unrun == []
    assert all((ROOT / test).exists() for test in RUN.values())


async def test_the_devnet_in_python_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """The program of docs/devnet.md starts a devnet, prints where it is, and mines."""
    (program,) = [
        text for document, _, language, text in blocks() if (document, language) == ("docs/devnet.md", "python")
    ]
    code = compile(program, "devnet.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    await eval(code, {})  # noqa: S307 - our own text
    assert capsys.readouterr().out.startswith("http://127.0.0.1:")


def test_the_signature_is_checked_as_documented() -> None:
    """What docs/events.md gives for checking a webhook's signature takes what the daemon signs, and nothing else."""
    (program,) = [text for document, _, _, text in blocks() if document == "docs/events.md" and "def is_ours" in text]
    names: dict[str, object] = {}
    exec(compile(program, "events.md", "exec"), names)  # noqa: S102 - our own text
    is_ours = names["is_ours"]
    assert callable(is_ours)
    assert is_ours(b"body", signature(b"secret", b"body"), b"secret")
    assert not is_ours(b"body", signature(b"other", b"body"), b"secret")


def test_what_is_signed_as_documented_is_taken() -> None:
    """What docs/security.md gives for signing a request makes what the daemon takes as that sender's, and only so."""
    (program,) = [text for document, _, _, text in blocks() if document == "docs/security.md" and "def signed" in text]
    names: dict[str, Any] = {}
    exec(compile(program, "security.md", "exec"), names)  # noqa: S102 - our own text
    document = names["signed"](event(subject="a"), KEYS["org1"], "main")
    assert request_by(SENDERS, trigger(document), START)[1].name == "queue:org1"
    with pytest.raises(InvalidRequestError, match="is not what was signed"):
        request_by(SENDERS, trigger({**document, "id": "another"}), START)


def test_every_command_in_the_documents_exists() -> None:
    """Each line of a block that begins with ``orchestrator`` names a verb, and options that it has."""
    seen = 0
    for document, _, language, text in blocks():
        if language not in ("text", "sh") or document == "docs/cli.md":
            continue
        for line in text.replace("\\\n", " ").splitlines():
            if line.startswith("orchestrator ") and "[" not in line:
                words = shlex.split(line.partition(" #")[0].removesuffix("&"))
                unknown = unknown_options(words[1:])
                assert unknown == [], f"{document}: {line}"
                seen += 1
    assert seen > 15


def unknown_options(words: list[str]) -> list[str]:
    """Return the options of a command line that its verb lacks; the verb itself when there is none of that name."""
    command: Any = typer.main.get_command(app)
    while hasattr(command, "commands") and words:
        name, *words = words
        found = command.commands.get(name)
        if found is None:
            return [name] if not name.startswith("-") else []
        command = found
    known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    if command.context_settings.get("ignore_unknown_options"):
        return []  # the devnet reads its own options
    return [word for word in words if word.startswith("--") and word.partition("=")[0] not in known]
