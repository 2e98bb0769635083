"""The command as a whole."""

import errno
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from orchestrator import __main__, __version__
from orchestrator.cli.main import app
from tests.patience import patient

TRYING = ("demo", "devnet")
RUNNING = ("init", "doctor", "migrate", "run", "audit")
ASKING = ("plan", "create", "add", "remove", "set", "unlock", "publish")
LOOKING = ("groups", "changes", "show", "watch", "schema")
OPERATING = ("retry", "cancel", "dead-letters")
VERBS = (*TRYING, *RUNNING, *ASKING, *LOOKING, *OPERATING)


def test_the_help_lists_every_verb() -> None:
    """`--help` names each verb and the exit codes."""
    result = CliRunner().invoke(app, ["--help"])
    assert result.exit_code == 0
    for verb in VERBS:
        assert f"\n  {verb} " in result.stdout
    assert "3 parked" in result.stdout


def test_output_that_finds_no_room_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A verb whose output goes to a full disk ends with a message and not with a traceback; other errors go on."""
    errors = [OSError(errno.ENOSPC, "No space left on device"), OSError(errno.EACCES, "Permission denied")]

    def fail() -> None:
        raise errors.pop(0)

    monkeypatch.setattr(__main__, "app", fail)
    with pytest.raises(SystemExit, match=r"No space left on device.*make room"):
        __main__.main()
    with pytest.raises(OSError, match="denied"):
        __main__.main()


def test_every_verb_explains_itself() -> None:
    """Each verb has a help of its own, the devnet's from its own parser."""
    for verb in VERBS:
        result = CliRunner().invoke(app, [verb, "--help"])
        assert result.exit_code == 0, verb
        assert "usage" in result.output.lower()


def test_the_version_is_printed() -> None:
    """`--version` prints the version and nothing else."""
    assert CliRunner().invoke(app, ["--version"]).stdout.strip() == __version__


def test_wrong_usage_is_two() -> None:
    """An unknown verb, an unknown option or a missing argument ends with 2."""
    for arguments in (["destroy"], ["add"], ["changes", "--colour", "red"], ["devnet", "--nodes", "many"]):
        assert CliRunner().invoke(app, arguments).exit_code == 2


def test_heavy_libraries_are_not_loaded_for_the_help() -> None:
    """The command line itself loads neither HTTP nor database nor validation, so that `--help` is quick."""
    script = (
        "import sys; from orchestrator.cli import main; "
        "print(*{'aiohttp', 'pydantic', 'sqlalchemy', 'nats', 'eth_account', 'structlog', 'rlp'} & set(sys.modules))"
    )
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=patient(30), check=True
    )
    assert run.stdout.strip() == ""


def test_the_module_can_be_run() -> None:
    """`python -m orchestrator` is the same command."""
    run = subprocess.run(
        [sys.executable, "-m", "orchestrator", "--version"],
        capture_output=True,
        text=True,
        timeout=patient(30),
        check=True,
    )
    assert run.stdout.strip() == __version__
