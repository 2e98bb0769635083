"""Writes ``docs/cli.md`` from the command line itself: run ``python docs/write_cli.py`` after a change of a verb."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typer.main import get_command
from typer.testing import CliRunner

from orchestrator.cli.main import app

DOCUMENT = Path(__file__).parent / "cli.md"
HEAD = """# Command line

Every verb with its options, as `orchestrator VERB --help` prints it. Written by `docs/write_cli.py`.

Members are given by the name of the node that hosts them, by their enclave key, or by its beginning; groups by a name,
their id (base64 or base64url), or its beginning; changes by their id or its beginning. All of these that are unknown
are told at once, and so are all mistakes of a configuration.

On a terminal lists fit its width; elsewhere fields stand between tabs, keys and ids in full, and verbs that ask print
one id on standard output and everything else on standard error. `--json` prints whole documents. `NO_COLOR` takes
colour, bold and dim away.

| exit code | |
|---|---|
| 0 | done |
| 1 | failed or cancelled; for `doctor` and `audit`: something is wrong |
| 2 | wrong usage, or a wrong configuration |
| 3 | parked: a person is needed |
| 130 | interrupted; a change that was asked for goes on |

| variable | |
|---|---|
| `ORCHESTRATOR_URL` | address of the daemon, for verbs that talk to it |
| `ORCHESTRATOR_TOKEN` | token for the daemon, where it asks for one ([access](security.md#who-may-ask)) |
| `ORCHESTRATOR_TOKEN_FILE` | file of mode 0600 with that token |
| `ORCHESTRATOR_CONFIG` | the configuration file, for verbs that read one |
"""


def written() -> str:
    """Return the document."""
    runner = CliRunner(env={"COLUMNS": "80", "TERMINAL_WIDTH": "80", "NO_COLOR": "1"})
    parts = [HEAD]
    for words in _verbs(runner, get_command(app), ()):
        output = runner.invoke(app, [*words, "--help"], prog_name="orchestrator").output
        parts.append(_block(" ".join(("orchestrator", *words)), output))
    return "\n".join(parts)


def _verbs(runner: CliRunner, command: Any, words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Yield a verb and those below it, in the order in which its help lists them."""
    yield words
    below = getattr(command, "commands", {})
    if below:
        listed = runner.invoke(app, [*words, "--help"], prog_name="orchestrator").output
        for name in (line.split()[0] for line in listed.splitlines() if line[:2] == "  " and line[2:3].isalpha()):
            if name in below:
                yield from _verbs(runner, below[name], (*words, name))


def _block(title: str, text: str) -> str:
    lines = "\n".join(line.rstrip() for line in text.strip().splitlines())
    return f"## {title}\n```text\n{lines}\n```\n"


if __name__ == "__main__":
    os.environ["COLUMNS"] = "80"
    DOCUMENT.write_text(written(), "utf-8")
    sys.stdout.write(f"{DOCUMENT}\n")
