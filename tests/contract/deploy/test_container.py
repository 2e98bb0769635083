import json
import re
import subprocess
import sys
from pathlib import Path

import yaml  # type: ignore[import-untyped] # it has no types of its own

from tests.contract.deploy.places import CHART, COMPOSE, CONTAINER, ROOT

TEXT = (CONTAINER / "Containerfile").read_text()


def test_the_container_file_is_clean() -> None:
    """hadolint finds nothing in it, nor its shell checker in the commands."""
    lint = Path(sys.executable).parent / "hadolint"
    looked = subprocess.run(
        [lint, "--no-color", CONTAINER / "Containerfile"], capture_output=True, text=True, timeout=60, check=False
    )
    assert (looked.returncode, looked.stdout) == (0, "")


def test_what_it_copies_is_sent_to_the_builder() -> None:
    """Only what is copied gets to the builder: no key or database of a checkout gets into an image."""
    let_through = {line[1:] for line in (ROOT / ".containerignore").read_text().splitlines() if line.startswith("!")}
    copied = set(" ".join(re.findall(r"^COPY (?!--from)(.*) \S+$", TEXT, re.MULTILINE)).split())
    assert copied == let_through
    assert all((ROOT / name).exists() for name in copied if not name.startswith("dist/"))


def test_the_image_runs_as_nobody() -> None:
    """The last stage ends as a user that is not root, by number, for Kubernetes checks that; and it says its health."""
    last = TEXT[TEXT.rindex("\nFROM ") :]
    assert re.findall(r"^USER (.*)$", last, re.MULTILINE) == ["10001:10001"]
    assert "HEALTHCHECK" in last
    assert "useradd --system --uid 10001 " in last


def test_the_image_speaks_to_every_queue() -> None:
    """The extras that a configuration may need are installed, each from a list with hashes that is copied; `make
    package` installs, lists and looks at the licences of the same.
    """
    (step,) = re.findall(r'^RUN \["sh", "./install.sh", "/opt/orchestrator", (.*)\]$', TEXT, re.MULTILINE)
    extras = json.loads(f"[{step}]")
    assert extras == ["kafka", "traces"]
    (copied,) = re.findall(r"^COPY (requirements.txt .*)$", TEXT, re.MULTILINE)
    assert {f"requirements-{extra}.txt" for extra in extras} <= set(copied.split())
    makefile = (ROOT / "Makefile").read_text()
    assert f"install.sh build/installed {' '.join(extras)}\n" in makefile
    plain = pins(ROOT / "requirements.txt")
    for extra in extras:
        assert plain < pins(ROOT / f"requirements-{extra}.txt"), "one version of each package, whatever is installed"


def pins(path: Path) -> set[str]:
    return set(re.findall(r"^(\S+==.*?) *\\$", path.read_text(), re.MULTILINE))


def test_images_are_named_whole() -> None:
    """Every image has its registry and a version: what is pulled is not left to the machine's configuration."""
    images = re.findall(r"^FROM (\S+)", TEXT, re.MULTILINE)
    for name in ("compose.yaml", "kafka.yaml"):
        services = yaml.safe_load((COMPOSE / name).read_text())["services"].values()
        images += [service["image"] for service in services if "build" not in service and "image" in service]
    images.append(yaml.safe_load((CHART / "values.yaml").read_text())["metrics"]["image"])
    ours = {"orchestrator:1"}
    unclear = [
        name for name in images if name not in ours and not re.fullmatch(r"[\w.]+\.\w+/[\w./-]+:(?!latest).+", name)
    ]
    assert unclear == []
