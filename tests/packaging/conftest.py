"""What `make package` built, and the environment that it installed the wheel into."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def dist() -> Path:
    """The folder with what is published."""
    return ROOT / "dist"


@pytest.fixture(scope="session")
def wheel(dist: Path) -> Path:
    """The one wheel."""
    (found,) = dist.glob("*.whl")
    return found


@pytest.fixture(scope="session")
def installed() -> Path:
    """The environment, which was installed as the image is; run ``make package`` to have it."""
    environment = ROOT / "build" / "installed"
    assert (environment / "bin" / "orchestrator").exists(), "run `make package`, which installs what is tested here"
    return environment
