"""`orchestrator tokens`, and how the command line proves who uses it."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from orchestrator.access.callers import Role
from orchestrator.api.callers.authentication import AccessRules
from orchestrator.cli.main import app
from orchestrator.store import migrate
from tests.fakes.http_api import GROUP, FakeParts, serving


def run(*arguments: str, **environment: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, list(arguments), env=environment)
    return result.exit_code, result.stdout.strip(), result.stderr


@pytest.fixture
def guarded() -> FakeParts:
    return FakeParts(rules=AccessRules(required=True))


def test_a_token_of_the_environment_or_a_file_is_shown(guarded: FakeParts, tmp_path: Path) -> None:
    """ORCHESTRATOR_TOKEN, or the file that ORCHESTRATOR_TOKEN_FILE names; without either it says what to do."""
    token = guarded.tokens.make("somebody", Role.VIEWER)
    file = tmp_path / "token"
    file.write_text(token + "\n")
    file.chmod(0o600)
    with serving(guarded) as url:
        assert run("groups", ORCHESTRATOR_URL=url, ORCHESTRATOR_TOKEN=token)[0] == 0
        assert run("groups", ORCHESTRATOR_URL=url, ORCHESTRATOR_TOKEN_FILE=str(file))[0] == 0
        code, _, said = run("groups", ORCHESTRATOR_URL=url)
        assert code == 2
        assert "ORCHESTRATOR_TOKEN_FILE" in said
        code, _, said = run("dead-letters", ORCHESTRATOR_URL=url, ORCHESTRATOR_TOKEN=token)
        assert code == 2
        assert "needs the role operator" in said
        file.chmod(0o644)
        code, _, said = run("groups", ORCHESTRATOR_URL=url, ORCHESTRATOR_TOKEN_FILE=str(file))
        assert code == 2
        assert "chmod 600" in said
        assert token not in said


def test_an_admin_makes_lists_and_revokes_tokens(guarded: FakeParts, tmp_path: Path) -> None:
    """By the daemon; a new token is printed alone, or written to a file that nobody else reads."""
    with serving(guarded) as url:
        admin = {"ORCHESTRATOR_URL": url, "ORCHESTRATOR_TOKEN": guarded.tokens.make("admin", Role.ADMIN)}
        code, token, _ = run("tokens", "create", "org1", "--role", "operator", "--group", GROUP, **admin)
        assert code == 0
        assert token.startswith("orct_")
        file = tmp_path / "metrics.token"
        assert run("tokens", "create", "prometheus", "--no-groups", "--file", str(file), **admin)[:2] == (0, "")
        assert file.stat().st_mode & 0o777 == 0o600
        listed = json.loads(run("tokens", "list", "--json", **admin)[1])["tokens"]
        limits = {one["name"]: (one["role"], one["groups"]) for one in listed}
        assert limits == {
            "org1": ("operator", [GROUP]),
            "prometheus": ("viewer", []),
            "admin": ("admin", None),
        }
        assert token.split("_", 2)[2] not in run("tokens", "list", **admin)[1]
        assert run("tokens", "revoke", token.split("_")[1], **admin)[0] == 0
        assert run("groups", ORCHESTRATOR_URL=url, ORCHESTRATOR_TOKEN=token)[0] == 2
        assert run("tokens", "create", "a b", **admin)[0] == 2


def test_the_first_token_is_made_beside_the_store(tmp_path: Path) -> None:
    """With --local on the store that the configuration names, without a daemon."""
    config = tmp_path / "orchestrator.toml"
    key = "BULeR8JyUWhiuuCMU/HLA0Q5pzkYT+cHII3ZKBey3Bo="
    config.write_text(
        '[store]\nurl = "sqlite:///store.db"\n'
        f'[[nodes]]\nname = "a"\nhttp = "http://127.0.0.1:1"\nenclave_keys = ["{key}"]\n'
    )
    place = ("--local", "--config", str(config))
    code, _, said = run("tokens", "create", "admin", "--role", "admin", *place)
    assert code == 1
    assert "migrate" in said
    migrate(f"sqlite:///{tmp_path}/store.db")
    code, token, _ = run("tokens", "create", "admin", "--role", "admin", *place)
    assert code == 0
    (listed,) = json.loads(run("tokens", "list", "--json", *place)[1])["tokens"]
    assert (listed["name"], listed["role"], listed["created_by"]) == ("admin", "admin", "local")
    assert token.split("_", 2)[2].encode() not in (tmp_path / "store.db").read_bytes()
    assert run("tokens", "revoke", listed["token_id"], *place)[0] == 0
    assert json.loads(run("tokens", "list", "--json", *place)[1])["tokens"][0]["revoked_at"] is not None
    assert run("tokens", "revoke", "none", *place)[0] == 2
    assert run("tokens", "create", "x", "--role", "root", *place)[0] == 2
