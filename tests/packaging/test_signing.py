"""docs/releases.md as it is written: what is published can be checked, by its signature and by building it again."""

import hashlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.packaging.conftest import ROOT
from tests.servers.programs import find_program

TEXT = (ROOT / "docs" / "releases.md").read_text()


def commands(name: str) -> str:
    (found,) = re.findall(rf"<!-- {name} -->\n```text\n(.*?)```", TEXT, re.DOTALL)
    return str(found)


def run(block: str, folder: Path) -> int:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block], cwd=folder, capture_output=True, timeout=60, check=False
    )
    return done.returncode


@pytest.fixture
def published(dist: Path, tmp_path: Path) -> Path:
    """A folder with a release, signed by a key that was made for it, and who may sign."""
    (tmp_path / "checkout").mkdir()
    shutil.copytree(dist, tmp_path / "checkout" / "dist")
    key = tmp_path / "checkout" / "release.key"
    command = [find_program("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", str(key)]
    subprocess.run(command, check=True, timeout=60)
    assert run(commands("signing"), key.parent) == 0
    folder = key.parent / "dist"
    (folder / "allowed_signers").write_text("release " + key.with_suffix(".key.pub").read_text())
    return folder


def test_everything_is_listed(dist: Path) -> None:
    """Each file of the release is in the list of hashes, with its own."""
    lines = [line.split("  ") for line in (dist / "SHA256SUMS").read_text().splitlines()]
    listed = {name: digest for digest, name in lines}
    there = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in dist.iterdir()}
    del there["SHA256SUMS"]
    assert listed == there
    assert {Path(name).suffix for name in listed} == {".whl", ".gz", ".json", ".md"}


def test_a_release_is_checked_as_written(published: Path) -> None:
    """The commands pass what was signed, and stop at a file or a list that somebody changed."""
    assert run(commands("verifying"), published) == 0
    (wheel,) = published.glob("*.whl")
    whole = wheel.read_bytes()
    wheel.write_bytes(whole + b"\0")
    assert run(commands("verifying"), published) != 0
    sums = published / "SHA256SUMS"
    sums.write_text(
        sums.read_text().replace(hashlib.sha256(whole).hexdigest(), hashlib.sha256(whole + b"\0").hexdigest())
    )
    assert run(commands("verifying"), published) != 0


def test_a_build_can_be_repeated(dist: Path, tmp_path: Path) -> None:
    """Built once more, the source distribution and the wheel are the same, byte for byte."""
    python = [sys.executable, "-m"]
    subprocess.run(
        [*python, "hatchling", "build", "--directory", str(tmp_path), "--target", "sdist"],
        cwd=ROOT,
        check=True,
        timeout=120,
    )
    (archive,) = tmp_path.glob("*.tar.gz")
    wheel = ["pip", "--quiet", "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path), str(archive)]
    subprocess.run([*python, *wheel], check=True, timeout=120)
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (dist / path.name).read_bytes(), path.name
