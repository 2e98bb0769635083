"""Child processes of the demo."""

import os
from pathlib import Path

import pytest

from orchestrator.cli.demo import processes
from orchestrator.cli.demo.processes import ProcessError, orchestrator_process


async def test_a_process_is_ready_and_ended(tmp_path: Path) -> None:
    """A child is waited for until it says that it is ready, and is gone when the context is left."""
    log = tmp_path / "devnet.log"
    others = _children()  # of fixtures that other tests share
    async with orchestrator_process(log, "devnet", "--nodes", "1", "--base-port", "0", "--block-period", "0") as said:
        assert said == ""
        children = _children() - others
        assert len(children) == 1
    assert not children & _children()


async def test_a_process_that_ends_shows_its_log(tmp_path: Path) -> None:
    """A child that ends instead of getting ready is an error with its code and what it printed."""
    with pytest.raises(ProcessError, match=r"ended with code 2:\n.*validators"):
        async with orchestrator_process(tmp_path / "devnet.log", "devnet", "--nodes", "1", "--validators", "3"):
            pass


async def test_a_process_that_is_never_ready_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that does not get ready in time is an error, and is ended."""
    monkeypatch.setattr(processes, "START_SECONDS", 0.01)
    others = _children()
    with pytest.raises(ProcessError, match="was not ready within"):
        async with orchestrator_process(tmp_path / "devnet.log", "devnet", "--nodes", "1", "--base-port", "0"):
            pass
    assert _children() <= others


def _children() -> set[int]:
    own = os.getpid()
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                arguments = (entry / "cmdline").read_bytes() if int(fields[1]) == own else b""
            except OSError:
                continue
            if fields[0] != "Z" and b"orchestrator" in arguments:
                found.add(int(entry.name))
    return found
