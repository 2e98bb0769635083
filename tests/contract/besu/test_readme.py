"""The program in the README, run as it is printed."""

import asyncio
import contextlib
import io
import os
import re
from pathlib import Path

import pytest

from orchestrator.devnet import DevnetConfig, running_devnet
from orchestrator.devnet.accounts import DEVELOPMENT_KEYS, RECORDED_VALIDATORS

README = Path(__file__).parents[3] / "README.md"


async def test_the_program_in_the_readme_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Copied into a file it makes a group of two, adds the third member, and prints all three."""
    (program,) = re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
    with os.fdopen(os.open(tmp_path / "owner.key", os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
        file.write(DEVELOPMENT_KEYS[RECORDED_VALIDATORS[0]])
    monkeypatch.chdir(tmp_path)
    async with running_devnet(DevnetConfig(base_port=0, block_period_seconds=0.1)) as devnet:
        assert "http://127.0.0.1:8545" in program
        adapted = program.replace("http://127.0.0.1:8545", devnet.nodes[0].http_url)
        printed = io.StringIO()

        def run() -> None:
            with contextlib.redirect_stdout(printed):
                exec(compile(adapted, "README.md", "exec"), {"__name__": "__main__"})  # noqa: S102 - our own text

        await asyncio.to_thread(run)
    for node in devnet.nodes:
        assert node.enclave_key in printed.getvalue()
