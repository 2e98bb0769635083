"""Verbs that run something, as processes and in the same process."""

import json
import sqlite3
from pathlib import Path

import pytest
from typer.testing import CliRunner

from orchestrator.besu.client.own_markers import pooled_keys
from orchestrator.cli.main import app

KEY = "A1aVtMxLCUHmBVHXoZzzBgPbW/wj5axDpW9X8l91SGo="
CONFIG = f"""
[[nodes]]
name = "member1"
http = "http://127.0.0.1:1"
enclave_keys = ["{KEY}"]
"""


@pytest.mark.parametrize("verb", ["run", "migrate", "doctor"])
def test_every_mistake_of_the_configuration_is_a_line(tmp_path: Path, verb: str) -> None:
    """A wrong configuration ends with 2 and one line for each mistake, before anything is started."""
    path = tmp_path / "orchestrator.toml"
    path.write_text(CONFIG.replace("http:", "ftp:") + '[store]\nurl = "mysql://x"\n')
    result = CliRunner().invoke(app, [verb, "--config", str(path)])
    assert result.exit_code == 2
    assert "nodes.0.http: must be" in result.stderr
    assert "store.url: must be" in result.stderr
    assert len(result.stderr.splitlines()) == 2


def test_a_missing_configuration_is_told(tmp_path: Path) -> None:
    """Without the file the error names it and the option."""
    result = CliRunner().invoke(app, ["run", "--config", str(tmp_path / "absent.toml")])
    assert result.exit_code == 2
    assert "--config" in result.stderr


def test_marker_accounts_are_listed(tmp_path: Path) -> None:
    """`markers` prints one address a line, ready to be permitted; a seed that is none is told."""
    path, seed = tmp_path / "orchestrator.toml", tmp_path / "markers.seed"
    path.write_text(CONFIG)
    assert "used once" in CliRunner().invoke(app, ["markers", "--config", str(path)]).stdout
    path.write_text(CONFIG + '[markers]\nseed_file = "markers.seed"\naccounts = 3\n')
    seed.write_text("07" * 32 + "\n")
    seed.chmod(0o600)
    listed = CliRunner().invoke(app, ["markers", "--config", str(path)]).stdout.split()
    as_json = CliRunner().invoke(app, ["markers", "--config", str(path), "--json"]).stdout
    assert json.loads(as_json) == {"accounts": listed}
    assert listed == list(pooled_keys(b"\x07" * 32, 3))
    seed.write_text("no seed")
    refused = CliRunner().invoke(app, ["markers", "--config", str(path)])
    assert refused.exit_code == 2
    assert "64 hexadecimal digits" in refused.stderr


def test_migrate_makes_the_database(tmp_path: Path) -> None:
    """`migrate` makes the tables where the configuration says; again it changes nothing."""
    path = tmp_path / "orchestrator.toml"
    path.write_text(CONFIG)
    first = CliRunner().invoke(app, ["migrate", "--config", str(path)])
    again = CliRunner().invoke(app, ["migrate", "--config", str(path), "--json"])
    assert (first.exit_code, again.exit_code) == (0, 0)
    with sqlite3.connect(tmp_path / "orchestrator.db") as database:
        tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    database.close()
    assert "changes" in tables


def test_migrate_names_the_file_that_it_can_not_write(tmp_path: Path) -> None:
    """Where the database can't be made, its file and what to do are told, and nothing of trying again."""
    path = tmp_path / "orchestrator.toml"
    path.write_text(CONFIG + '[store]\nurl = "sqlite:///absent/store.db"\n')
    result = CliRunner().invoke(app, ["migrate", "--config", str(path)])
    assert result.exit_code == 1
    assert f"let the daemon's user write {tmp_path}/absent/store.db" in result.stderr
    assert "tried again" not in result.stderr


def test_run_wants_a_migrated_database(tmp_path: Path) -> None:
    """`run` on a database without tables ends with 1 and names the verb that makes them."""
    path = tmp_path / "orchestrator.toml"
    path.write_text(CONFIG)
    result = CliRunner().invoke(app, ["run", "--config", str(path)])
    assert result.exit_code == 1
    assert "migrate" in result.stderr


def test_a_devnet_that_cannot_be_is_wrong_usage() -> None:
    """Options of the devnet that do not fit together end with 2."""
    result = CliRunner().invoke(app, ["devnet", "--nodes", "2", "--validators", "3"])
    assert result.exit_code == 2
    assert "validators" in result.stderr
