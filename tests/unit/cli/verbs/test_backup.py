import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from orchestrator.cli.main import app
from orchestrator.store import migrate

KEY = "BULeR8JyUWhiuuCMU/HLA0Q5pzkYT+cHII3ZKBey3Bo="
NODE = f'[[nodes]]\nname = "a"\nhttp = "http://127.0.0.1:1"\nenclave_keys = ["{KEY}"]\n'


def run(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result.output


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "orchestrator.toml"
    file.write_text(f'[store]\nurl = "sqlite:///store.db"\n{NODE}')
    migrate(f"sqlite:///{tmp_path}/store.db")
    return file


def test_a_store_comes_back_from_its_backup(config: Path, tmp_path: Path) -> None:
    """What was written after the backup is gone after the restore, and the store that was there is kept beside it."""
    made = json.loads(run("backup", tmp_path / "backup.db", "--config", config, "--json"))
    assert (made["file"], made["changes"], made["unfinished"]) == (str(tmp_path / "backup.db"), 0, 0)
    with closing(sqlite3.connect(tmp_path / "store.db")) as store:
        store.execute("INSERT INTO group_names VALUES ('later', 'g')")
        store.commit()
    assert "not overwritten" in run("backup", tmp_path / "backup.db", "--config", config, code=1)
    said = run("restore", tmp_path / "backup.db", "--config", config)
    assert "what was there is in" in said
    with closing(sqlite3.connect(tmp_path / "store.db")) as store:
        assert store.execute("SELECT count(*) FROM group_names").fetchone() == (0,)
    (kept,) = tmp_path.glob("store.db.before-*")
    with closing(sqlite3.connect(kept)) as store:
        assert store.execute("SELECT count(*) FROM group_names").fetchone() == (1,)


def test_a_store_that_was_put_back_by_hand_can_be_prepared(config: Path) -> None:
    """Without a file the database at store.url is prepared as it is."""
    assert json.loads(run("restore", "--config", config, "--json")) == {"block": 0}


def test_postgresql_is_refused_with_the_command_that_does_it(tmp_path: Path) -> None:
    """Both verbs say what to run, and the exit code is that of wrong usage."""
    file = tmp_path / "orchestrator.toml"
    file.write_text(f'[store]\nurl = "postgresql://orchestrator@db.internal/membership"\n{NODE}')
    assert "pg_dump --format=custom" in run("backup", tmp_path / "x", "--config", file, code=2)
    assert "orchestrator restore` without a file" in run("restore", tmp_path / "x", "--config", file, code=2)
