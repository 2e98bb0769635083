"""The next release's migration, planted: what programs of today meet during a rolling upgrade."""

import os
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from alembic.config import Config

from orchestrator.store.commits.schema_version import required_version

# The package has a function of the same name.
schema_version: Any = import_module("orchestrator.store.commits.schema_version")

REVISION = "9999"

ADDITIVE = """
    op.add_column("lanes", sa.Column("priority", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("changes", sa.Column("wish", sa.Text(), nullable=True))
    op.create_table("wishes", sa.Column("wish", sa.Text(), primary_key=True))
"""

_TEXT = '''"""What the next release adds."""
import sqlalchemy as sa
from alembic import op

revision = "{revision}"
down_revision = "{before}"
contract = {contract}


def upgrade() -> None:
    """Make it."""
{upgrade}
'''


def following_migrate(
    folder: Path, monkeypatch: pytest.MonkeyPatch, upgrade: str = ADDITIVE, *, contract: bool = False
) -> Callable[..., str]:
    """Return `migrate` as the next release has it; everything else stays as it is today.

    Args:
        folder: An empty folder for its migration.
        monkeypatch: Puts it in while that `migrate` runs.
        upgrade: What the migration does, as lines of a function.
        contract: Whether it says that it takes something away.
    """
    text = _TEXT.format(revision=REVISION, before=required_version(), contract=contract, upgrade=upgrade)
    (folder / "r9999_wishes.py").write_text(text)
    own = schema_version._config

    def config() -> Config:
        made: Config = own()
        script_location = made.get_main_option("script_location")
        made.set_main_option("path_separator", "os")
        made.set_main_option("version_locations", os.pathsep.join([f"{script_location}/versions", str(folder)]))
        return made

    def migrate(url: str, pause: Callable[[], None] = lambda: None) -> str:
        with monkeypatch.context() as patch:
            patch.setattr(schema_version, "_config", config)
            return str(schema_version.migrate(url, pause))

    return migrate
