"""Empty stores for tests that are not about making them: copies of one that was migrated once in this process."""

import functools
import shutil
import tempfile
from pathlib import Path

from orchestrator.store import migrate


@functools.cache
def _template() -> tuple[tempfile.TemporaryDirectory[str], Path]:
    folder = tempfile.TemporaryDirectory(prefix="migrated-store-")
    migrate(f"sqlite:///{folder.name}/store.db")
    return folder, Path(folder.name) / "store.db"


def migrated(path: Path) -> str:
    """Put an empty SQLite store at a path; returns its address. All copies have one identity."""
    shutil.copyfile(_template()[1], path)
    path.chmod(0o600)
    return f"sqlite:///{path}"
