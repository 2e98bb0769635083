import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.contract.deploy.places import DEPLOY, directives
from tests.servers.programs import find_program

UNITS = sorted((DEPLOY / "systemd").glob("*.service"))


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_the_units_expose_little(unit: Path) -> None:
    """systemd's own estimate of what a service could do to its machine is 2.0 of 10 at most."""
    analyze = find_program("systemd-analyze")
    command = [analyze, "security", "--no-pager", "--offline=true", "--threshold=20", str(unit)]
    looked = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert looked.returncode == 0, looked.stdout.splitlines()[-1:]


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_systemd_knows_every_setting(unit: Path, tmp_path: Path) -> None:
    """Each setting stands in the section in which systemd looks for it, and has a value that it takes."""
    copy = tmp_path / unit.name
    copy.write_text(unit.read_text().replace("=/opt/orchestrator/bin/orchestrator ", f"={sys.executable} "))
    command = [find_program("systemd-analyze"), "verify", "--man=no", str(copy)]
    looked = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    said = [line for line in looked.stderr.splitlines() if copy.name in line]
    assert (looked.returncode, said) == (0, [])


def credentials(path: Path) -> tuple[set[str], set[str]]:
    """What a unit loads and what it names to the daemon."""
    settings = directives(path)
    loaded = {value.partition(":")[0] for name, value in settings if name == "LoadCredential" and value}
    named = {value.partition("=%d/")[2] for name, value in settings if name == "Environment" and "=%d/" in value}
    return loaded, named


def test_every_secret_comes_as_a_credential() -> None:
    """Each file of a secret that the example names is loaded by systemd and named to the daemon where it is then."""
    loaded, named = credentials(DEPLOY / "systemd" / "orchestrator.service")
    example = tomllib.loads((DEPLOY / "orchestrator.toml").read_text())
    tables = [example["store"], example["broker"], *example["nodes"], *example["accounts"]]
    secret = ("password_file", "credentials_file", "token_file", "key_file")
    wanted = {table[key] for table in tables for key in secret if key in table}
    assert loaded == named == wanted


@pytest.mark.parametrize("drop_in", sorted((DEPLOY / "systemd").glob("*.d/*.conf")), ids=lambda path: path.stem)
def test_drop_ins_put_their_own_in_place(drop_in: Path) -> None:
    """Credentials and environment are taken back before others are given, and each that is loaded is named, too."""
    loaded, named = credentials(drop_in)
    assert loaded == named
    for setting in ("LoadCredential", "Environment"):
        given = [value for name, value in directives(drop_in) if name == setting]
        assert given[0] == ""
        assert all(given[1:])
