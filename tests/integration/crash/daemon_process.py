"""The daemon in a forked process that ends itself with SIGKILL at a chosen commit.

Forked from a server that has everything imported, because a matrix of some hundred starts would mostly import.
"""

import os
import signal
import sys
from collections.abc import Sequence
from multiprocessing import forkserver, get_context
from multiprocessing.context import ForkServerContext
from pathlib import Path

import sqlalchemy as sa

import orchestrator.api.application
import orchestrator.app.daemon
import orchestrator.log  # noqa: F401 - imported once, before the fork
from orchestrator.cli.running import run
from orchestrator.store.database import Database
from orchestrator.store.sharing import Job, Outcome

PRELOADED = ["tests.integration.crash.daemon_process"]


def context() -> ForkServerContext:
    """Return the way to start processes."""
    made = get_context("forkserver")
    made.set_forkserver_preload(PRELOADED)
    forkserver.ensure_running()
    return made


def main(config: str, log: str, commit: int | None, after: bool, counter: str) -> None:
    """Run the daemon.

    Args:
        config: Its configuration file.
        log: Where what it says goes.
        commit: At which commit of the process, from 1, it dies; None for none.
        after: Whether it dies when the commit is done and nobody knows, or right before it.
        counter: A file to which a byte is written for each commit.
    """
    said = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(said, 1)
    os.dup2(said, 2)
    _count_commits(commit, after, Path(counter))
    run(config=Path(config))
    sys.stdout.flush()


def _count_commits(fatal: int | None, after: bool, counter: Path) -> None:
    right = Database._commit_together
    counted = os.open(counter, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    done = 0

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def on_commit(_: sa.Connection) -> None:
        if fatal == done + 1 and not after:
            die()

    def commit_together(self: Database, jobs: Sequence[Job]) -> list[Outcome]:
        nonlocal done
        if not sa.event.contains(self._writing, "commit", on_commit):
            sa.event.listen(self._writing, "commit", on_commit)
        outcomes = right(self, jobs)
        done += 1
        os.write(counted, b".")
        if fatal == done and after:
            die()
        return outcomes

    Database._commit_together = commit_together  # type: ignore[method-assign] # the process dies here, the code does not know
