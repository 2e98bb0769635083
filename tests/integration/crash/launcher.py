"""One run of the daemon, in a forked process that ends itself with SIGKILL at a chosen moment.

It is ``orchestrator run`` with its queue, lanes, relay and HTTP. Only what looks after other groups than the one that
is changed (joins, audits) is left out, because all runs share one network, and what looks at the daemon itself, whose
commits would be counted; and the queue gives back unsettled triggers sooner. The production code has no hooks: the
moments are told by wrapping two methods here.
"""

import asyncio
import json
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from aiohttp import BytesPayload

import orchestrator.api.application
import orchestrator.log
import orchestrator.store.commits.schema_version  # noqa: F401 - imported once, before the fork
from orchestrator.app import daemon
from orchestrator.besu.transport.http_client import HttpNode
from orchestrator.broker.names import Limits
from orchestrator.cli.verbs.run import run
from orchestrator.devnet import DevnetConfig, running_devnet
from orchestrator.store.commits.database import Database
from orchestrator.store.commits.shared_transactions import Job, Outcome
from orchestrator.store.units.acceptance import Accept
from orchestrator.store.units.steps import Step

BLOCK_SECONDS = 0.2
ACK_WAIT = timedelta(seconds=2)
CLAIMED = "claimed"
SENDING = {"priv_distributeRawTransaction", "eth_sendRawTransaction"}
"""The methods that send something. They are counted by themselves: what is read before them differs by run."""


@dataclass(frozen=True, slots=True, order=True)
class Point:
    """A moment of a run.

    Attributes:
        kind: ``"commit"``, ``"send"`` and ``"rpc"`` (an HTTP request to a node that sends something, and any other), or
            ``CLAIMED`` (no point to die at: a mark).
        number: Which one since the request was accepted, that commit being the first; 0 before it.
        when: ``"before"``, or ``"after"``: it is done, and the daemon has not learned of it.
    """

    kind: str
    number: int
    when: str


def serve_devnet(connection: Connection) -> None:
    """Run a network of three members until killed; sends each node's (HTTP address, WebSocket address, enclave key)."""

    async def serve() -> None:
        config = DevnetConfig(base_port=0, block_period_seconds=BLOCK_SECONDS, replay_ms_per_transaction=1.0)
        async with running_devnet(config) as devnet:
            connection.send([(node.http_url, node.ws_url, node.enclave_key) for node in devnet.nodes])
            await asyncio.Event().wait()

    asyncio.run(serve())


def run_daemon(config: str, log: str, trace: str, fatal: Point | None) -> None:
    """Run the daemon until killed.

    Args:
        config: Its configuration file.
        log: File for what it says.
        trace: File for a line ``time cpu kind number when label`` at each moment: the system's monotonic clock and the
            processor time of this run, in seconds.
        fatal: The moment to die at.
    """
    said = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(said, 1)
    os.dup2(said, 2)
    _Moments(os.open(trace, os.O_WRONLY | os.O_CREAT | os.O_APPEND), fatal).watch()
    daemon._watch = lambda *_: ()
    daemon._self_watch = lambda *_: ()
    setattr(daemon, "Limits", partial(Limits, ack_wait=ACK_WAIT))  # noqa: B010 - it has no setting
    run(config=Path(config))


class _Moments:
    """Counts commits and requests; the writer's thread counts the former, the event loop's the latter."""

    def __init__(self, trace: int, fatal: Point | None) -> None:
        self._trace = trace
        self._fatal = fatal
        self._accepted = False
        self._numbers = {"commit": 0, "send": 0, "rpc": 0}
        self._committing = 0
        self._label = ""

    def watch(self) -> None:
        commit_together, exchange = Database._commit_together, HttpNode._exchange

        def commit(database: Database, jobs: Sequence[Job]) -> list[Outcome]:
            if not sa.event.contains(database._writing, "commit", self._before_commit):
                sa.event.listen(database._writing, "commit", self._before_commit)
            self._accepted = self._accepted or any(isinstance(job.unit, Accept) for job in jobs)
            self._label = "+".join(sorted(label_of(job) for job in jobs))
            outcomes = commit_together(database, jobs)
            self._at("commit", self._committing, "after", self._label)
            if any(label_of(job) == "claim" and outcome.value for job, outcome in zip(jobs, outcomes, strict=True)):
                self._at(CLAIMED, 0, "after", "")
            return outcomes

        async def ask(node: HttpNode, body: BytesPayload, headers: dict[str, str], seconds: float) -> bytes:
            label = label_of_body(body.decode())
            kind = "send" if SENDING & set(label.split("+")) else "rpc"
            number = self._next(kind)
            self._at(kind, number, "before", label)
            answer = await exchange(node, body, headers, seconds)
            self._at(kind, number, "after", label)
            return answer

        Database._commit_together = commit  # type: ignore[method-assign, assignment] # the original is called within
        HttpNode._exchange = ask  # type: ignore[method-assign, assignment] # the original is called within

    def _before_commit(self, _: sa.Connection) -> None:
        self._committing = self._next("commit")
        self._at("commit", self._committing, "before", self._label)

    def _next(self, kind: str) -> int:
        self._numbers[kind] += self._accepted
        return self._numbers[kind]

    def _at(self, kind: str, number: int, when: str, label: str) -> None:
        os.write(
            self._trace, f"{time.monotonic():.6f} {time.process_time():.6f} {kind} {number} {when} {label}\n".encode()
        )
        if self._fatal == Point(kind, number, when):
            os.kill(os.getpid(), signal.SIGKILL)


def label_of(job: Job) -> str:
    """Return what a unit of work does, in a word."""
    unit: Any = job.unit
    if isinstance(unit, Step):
        return "step:" + ",".join(f"{entry.fact}>{entry.to_state}" for entry in unit.made.history)
    return str(unit.func.__name__) if isinstance(unit, partial) else type(unit).__name__


def label_of_body(body: str) -> str:
    """Return the JSON-RPC methods of a request."""
    asked = json.loads(body)
    return "+".join(sorted({call["method"] for call in (asked if isinstance(asked, list) else [asked])}))
