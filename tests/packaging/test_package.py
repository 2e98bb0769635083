"""What is in the wheel and the source distribution, and in the lists beside them."""

import json
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.packaging.conftest import ROOT
from tests.packaging.licences import ACCEPTED, LicenceError, Licensed, accepted, found_in, table

TRACKED = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()


def test_the_wheel_is_the_package_and_no_more(wheel: Path) -> None:
    """Every file of the package that is in the repository is in the wheel, and nothing but these and its metadata."""
    ours = {name for name in TRACKED if name.startswith("orchestrator/")}
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert len(ours) > 100
    assert inside == ours


def test_the_source_distribution_is_the_repository(dist: Path) -> None:
    """Everything that is in the repository is in the source distribution, with which all of it can be made again."""
    (archive,) = dist.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        inside = {name.partition("/")[2] for name in opened.getnames()}
    assert inside - set(TRACKED) == {"PKG-INFO"}
    assert set(TRACKED) <= inside


def test_versions_agree(wheel: Path, dist: Path, installed: Path) -> None:
    """Wheel, source distribution and the program that is installed say one version."""
    version = wheel.name.split("-")[1]
    (archive,) = dist.glob("*.tar.gz")
    said = subprocess.run([installed / "bin" / "orchestrator", "--version"], capture_output=True, text=True, check=True)
    assert (said.stdout.strip(), archive.name) == (version, f"besu_membership_orchestrator-{version}.tar.gz")


def test_what_is_installed_is_the_wheel(installed: Path, tmp_path: Path) -> None:
    """The program runs from its environment alone, and has the migrations and the pages that belong to it."""
    text = (
        "import orchestrator, sys; from orchestrator.store import migrate; from importlib.resources import files;"
        "print(orchestrator.__file__, migrate('sqlite:///store.db'), (files('orchestrator.api') / 'pages' / "
        "'dashboard.html').is_file())"
    )
    done = subprocess.run(
        [installed / "bin" / "python", "-I", "-c", text], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    file, version, pages = done.stdout.split()
    assert file.startswith(str(installed))
    newest = max(path.name for path in (ROOT / "orchestrator/store/migrations/versions").glob("r0*.py"))
    assert (version, pages) == (newest[1:5], "True")


def test_the_inventory_lists_what_is_installed(dist: Path, installed: Path) -> None:
    """The SBOM has each installed package once, with its version and the name by which scanners know it."""
    inventory = json.loads((dist / "sbom.cdx.json").read_text())
    assert inventory["bomFormat"] == "CycloneDX"
    assert inventory["metadata"]["component"]["name"] == "besu-membership-orchestrator"
    listed = {(part["name"], part["version"]): part.get("purl", "") for part in inventory["components"]}
    there = {(one.name, one.version) for one in found_in(installed) if one.name != "besu-membership-orchestrator"}
    assert set(listed) - {key for key in listed if key[0] == "besu-membership-orchestrator"} == there
    assert [name for (name, _), purl in listed.items() if not purl.startswith("pkg:pypi/")] == []
    assert "file://" not in json.dumps(inventory)


def test_licences_are_listed_and_accepted(dist: Path, installed: Path) -> None:
    """Each installed package is in the table with a licence that somebody looked at."""
    assert (dist / "licences.md").read_text() == table(found_in(installed))


@pytest.mark.parametrize(
    ("expression", "fine"),
    [
        ("MIT", True),
        ("Apache-2.0 OR GPL-3.0-only", True),
        ("Apache-2.0 AND GPL-3.0-only", False),
        ("GPL-3.0-only", False),
        ("", False),
    ],
)
def test_a_licence_that_nobody_looked_at_is_refused(expression: str, fine: bool) -> None:
    """Of alternatives one has to be accepted, of licences that go together all; saying none is refused."""
    assert accepted(expression) is fine
    row = Licensed("a", "1", expression)
    if fine:
        assert expression in table([row])
    else:
        with pytest.raises(LicenceError, match="a 1"):
            table([row])
    assert "GPL-3.0-only" not in ACCEPTED
