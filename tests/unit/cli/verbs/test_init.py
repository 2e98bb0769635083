"""Writing a configuration: what is missing is told or asked for, and nothing is ever overwritten."""

import stat
import tomllib
from pathlib import Path
from unittest.mock import patch

import pytest
from typer.testing import CliRunner

from orchestrator.cli.first_look import Look
from orchestrator.cli.main import app
from orchestrator.cli.new_configuration import (
    AccountEntry,
    NewConfigurationError,
    NodeEntry,
    configuration_text,
    write_files,
)
from orchestrator.config import load_config
from tests.fakes.http_api import ACCOUNT, KEYS

KEY_TEXT = "8f2a55949038a9610f50fb23b5883af3b4ecb3c3bb792cbcefbd1542c692be63"


def test_everything_that_is_missing_is_told_at_once(tmp_path: Path) -> None:
    """Off a terminal each missing or wrong option is a line, and nothing is written."""
    options = ("--node", "a=http://127.0.0.1:1", "--enclave-key", "b=ABC", "--keystore", "file")
    result = CliRunner().invoke(app, ["init", "--directory", str(tmp_path / "new"), *options])
    assert result.exit_code == 2
    for said in ("none for a", "there is no node b", "neither an enclave's public key", "give both"):
        assert said in result.stderr
    assert len(result.stderr.splitlines()) == 4
    assert not (tmp_path / "new").exists()
    assert "--node: name your nodes" in CliRunner().invoke(app, ["init", "-d", str(tmp_path / "new")]).stderr


def test_a_node_that_does_not_answer_is_told(tmp_path: Path) -> None:
    """A node that can't be asked is one line with its address, without a traceback or a log."""
    options = ("--node", "http://127.0.0.1:1", "--enclave-key", KEYS[0], "--new-account")
    result = CliRunner().invoke(app, ["init", "-d", str(tmp_path), *options])
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
    assert "member1: no connection to http://127.0.0.1:1" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_what_is_left_open_is_asked_for(tmp_path: Path) -> None:
    """On a terminal it asks for nodes, their keys (a file will do) and the owner's key, and makes the files."""
    (tmp_path / "tm.pub").write_text(KEYS[1] + "\n")
    said = ["http://127.0.0.1:1", "first", "http://127.0.0.1:2", "", "", KEYS[0], str(tmp_path / "tm.pub"), ""]
    looks = tuple(
        Look(name=name, http=f"http://127.0.0.1:{n}", chain_id=1337, client="besu/v23.10.3")
        for n, name in enumerate(("first", "member2"), start=1)
    )

    async def look_at(*_: object) -> tuple[Look, ...]:
        return looks

    with (
        patch("orchestrator.cli.verbs.init._on_terminal", return_value=True),
        patch("orchestrator.cli.verbs.init.look_at", look_at),
        patch("orchestrator.cli.verbs.init._verdict"),
    ):
        result = CliRunner().invoke(app, ["init", "-d", str(tmp_path / "new")], input="\n".join(said) + "\n")
    assert result.exit_code == 0, result.output
    config = load_config(tmp_path / "new" / "orchestrator.toml", {})
    assert [(node.name, node.enclave_keys) for node in config.nodes] == [("first", (KEYS[0],)), ("member2", (KEYS[1],))]
    assert len(config.accounts) == 1


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    """A file with another text stays, and so do those beside it; the same text again is no mistake."""
    files = (("owner.key", KEY_TEXT, 0o600), ("orchestrator.toml", "a", 0o644))
    write_files(tmp_path / "new", files)
    write_files(tmp_path / "new", files)
    assert stat.S_IMODE((tmp_path / "new" / "owner.key").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700
    with pytest.raises(NewConfigurationError, match="not overwritten"):
        write_files(tmp_path / "new", (("third", "c", 0o644), ("orchestrator.toml", "b", 0o644)))
    assert {file.name for file in (tmp_path / "new").iterdir()} == {"owner.key", "orchestrator.toml"}
    result = CliRunner().invoke(app, ["init", "-d", str(tmp_path / "new")])
    assert (result.exit_code, "is there already" in result.stderr) == (2, True)


def test_what_is_written_can_be_read(tmp_path: Path) -> None:
    """Whatever stands in the entries, the text is the configuration that they describe."""
    (tmp_path / "owner.key").write_text(KEY_TEXT)
    (tmp_path / "owner.key").chmod(0o600)
    (tmp_path / 'a "token"').write_text("t")
    (tmp_path / 'a "token"').chmod(0o600)
    node = NodeEntry(
        name="member1",
        http="http://127.0.0.1:8545",
        ws="ws://127.0.0.1:8546",
        enclave_keys=KEYS[:2],
        token_file='a "token"',
        besu_version="23.10.3",
        comment="seen today",
    )
    text = configuration_text([node], [AccountEntry(address=ACCOUNT, key_file="owner.key")], listen="127.0.0.1:8081")
    (tmp_path / "orchestrator.toml").write_text(text)
    config = load_config(tmp_path / "orchestrator.toml", {})
    (read,) = config.nodes
    assert (read.http, read.ws, read.enclave_keys, read.version) == (node.http, node.ws, KEYS[:2], (23, 10, 3))
    assert (config.api.listen, config.accounts[0].address) == ("127.0.0.1:8081", ACCOUNT)


def test_the_time_between_blocks_is_written_where_it_is_known() -> None:
    """Forecasts rest on it until the network has been measured."""
    node = NodeEntry(name="one", http="http://127.0.0.1:1", ws=None, enclave_keys=KEYS[:1])
    account = [AccountEntry(address=ACCOUNT, key_file="owner.key")]
    known = tomllib.loads(configuration_text([node], account, block_period_seconds=2.0))
    assert known["chain"]["block_period_seconds"] == 2.0
    assert "block_period_seconds" not in tomllib.loads(configuration_text([node], account))["chain"]
