"""The demo's main job: create a group of two, write to it, add the third member, prove it in sync, remove it again."""

import asyncio
import base64
import json
import secrets
import signal
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Final

from orchestrator.api.documents.changes import ChangeDetailDocument
from orchestrator.api.documents.groups import GroupDocument
from orchestrator.besu import BesuError
from orchestrator.cli.demo.application import ACCOUNTS, WritingError, write
from orchestrator.cli.demo.environment import OWNER, Environment, EnvironmentSetupError, members_by_name, set_up
from orchestrator.cli.demo.processes import ProcessError
from orchestrator.cli.demo.screen import Screen, summary
from orchestrator.cli.display.output import Exit, fail, first_of, stdout_console
from orchestrator.cli.display.tables import done_of, time_left
from orchestrator.cli.display.words import Words
from orchestrator.client import DaemonError, DaemonUnreachableError, following
from orchestrator.engine.intake.requests import REQUEST_TYPE
from orchestrator.engine.ports.queues import BrokerError
from orchestrator.log import configure_logging
from orchestrator.membership.model import Kind, State

TRANSACTIONS: Final = 200
PATIENCE_SECONDS: Final = 120.0
_POLL_SECONDS: Final = 0.1
_RESTING: Final = (State.SUCCEEDED, State.FAILED, State.CANCELLED, State.PARKED)

_KNOWN_ERRORS: Final = (
    ProcessError,
    EnvironmentSetupError,
    WritingError,
    BesuError,
    BrokerError,
    DaemonError,
    TimeoutError,
)


class StoryError(Exception):
    """Something did not come out as it should; the message says what."""


def run_demo(*, keep: bool, directory: Path | None) -> int:
    """Run the demo; returns the exit code.

    Args:
        keep: Leave everything running afterwards until interrupted.
        directory: Where configuration, logs and data are kept; None for a temporary one.
    """
    configure_logging("error")  # the daemon's log is a file; ours would tell of the orderly end as of trouble
    screen = Screen(stdout_console(), Words(nodes=members_by_name(), full=False))
    if directory is not None:
        directory.mkdir(parents=True, exist_ok=True)
        directory = directory.resolve()
    try:
        return asyncio.run(_interruptible(screen, keep, directory))
    # The tasks of the story end in a group of errors, of which the first one is the cause.
    except* (*_KNOWN_ERRORS, StoryError) as group:
        fail(str(first_of(group)) or "it took too long")
    return Exit.FAILED


async def _interruptible(screen: Screen, keep: bool, directory: Path | None) -> int:
    """End the demo in order on SIGINT, SIGTERM and SIGHUP: its processes are children of ours."""
    telling = asyncio.ensure_future(_tell(screen, keep, directory))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # Two of these would end this process at once, and leave its children behind.
        loop.add_signal_handler(number, telling.cancel)
    try:
        return await telling
    except asyncio.CancelledError:
        screen.note("stopped")
        return Exit.INTERRUPTED


async def _tell(screen: Screen, keep: bool, directory: Path | None) -> int:
    began = time.monotonic()
    place = tempfile.TemporaryDirectory(prefix="orchestrator-demo-") if directory is None else nullcontext(directory)
    with place as chosen:
        screen.step("Starting three emulated Besu nodes, the message queue and the daemon")
        async with set_up(Path(chosen)) as environment, asyncio.TaskGroup() as tasks:
            screen.note(f"dashboard {environment.address}")
            listening = tasks.create_task(_show_events(environment, screen))
            in_sync = await _main_job(environment, screen)
            if in_sync:
                screen.verdict(f"done in {time.monotonic() - began:.0f} s", good=True)
            if keep:
                await _keep(environment, screen)
            listening.cancel()
    return Exit.DONE if in_sync else Exit.FAILED


async def _main_job(environment: Environment, screen: Screen) -> bool:
    group = base64.b64encode(secrets.token_bytes(32)).decode()
    first, second, third = environment.members
    screen.step("Creating a group of two by a message on the queue")
    await _change(environment, screen, Kind.CREATE_GROUP, group, (first, second))

    screen.step(f"An application writes {TRANSACTIONS} private transactions from {ACCOUNTS} accounts")
    with screen.bar("written", "transactions") as bar:
        blocks = await write(
            environment.nodes[0], group, first, TRANSACTIONS, lambda done: bar.update(done, TRANSACTIONS)
        )
    screen.note(f"{TRANSACTIONS} private transactions in {blocks} blocks")

    screen.step("Adding the third member by a message on the queue")
    with screen.bar("member3 replays", "transactions") as bar:

        def show(change: ChangeDetailDocument) -> None:
            for member in change.progress:
                if member.enclave_key == third and member.blocks_total:
                    bar.update(*done_of(member), time_left(member))

        await _change(environment, screen, Kind.ADD_MEMBERS, group, (third,), show)
    standing = await environment.daemon.group(group)
    screen.members(standing)
    in_sync = _is_in_sync(standing, environment.members)
    screen.verdict("in sync" if in_sync else "not in sync", good=in_sync)

    screen.step("Removing the third member by a message on the queue")
    await _change(environment, screen, Kind.REMOVE_MEMBERS, group, (third,))
    left = (await environment.daemon.group(group)).participants
    screen.note(f"{len(left)} members are left")
    if set(left) != {first, second}:
        raise StoryError(f"after the removal the members are {', '.join(left)}")
    return in_sync


async def _change(
    environment: Environment,
    screen: Screen,
    kind: Kind,
    group: str,
    members: Sequence[str],
    show: Callable[[ChangeDetailDocument], None] | None = None,
) -> None:
    """Ask for a change through the queue and follow it to its success."""
    request_id = f"demo-{kind.value}-{secrets.token_hex(4)}"
    event = {
        "specversion": "1.0",
        "id": request_id,
        "source": "/demo",
        "type": REQUEST_TYPE,
        "datacontenttype": "application/json",
        "data": {"kind": kind.value, "privacy_group_id": group, "members": list(members), "account": OWNER},
    }
    async with asyncio.timeout(PATIENCE_SECONDS):
        await environment.queue.request(json.dumps(event).encode())
        change_id = await _accepted(environment, group, request_id)
        async with following(environment.daemon, change_id) as news:
            while (change := await environment.daemon.change(change_id)).state not in _RESTING:
                if show is not None:
                    show(change)
                await news()
    if show is not None:
        show(change)
    if change.state is not State.SUCCEEDED:
        raise StoryError(summary(change, screen.words))
    # The last status event may be a moment behind the answer.
    await asyncio.sleep(_POLL_SECONDS)
    screen.note(summary(change, screen.words))


async def _accepted(environment: Environment, group: str, request_id: str) -> str:
    while True:
        page = await environment.daemon.changes(group=group, states=(), limit=10)
        for change in page.changes:
            if change.request_id == request_id:
                return change.change_id
        await asyncio.sleep(_POLL_SECONDS)


def _is_in_sync(group: GroupDocument, members: tuple[str, ...]) -> bool:
    seen = {member.enclave_key for member in group.members if member.exists}
    return group.in_sync is True and seen == set(members) == set(group.participants)


async def _show_events(environment: Environment, screen: Screen) -> None:
    resume_id = "0"
    while True:
        with suppress(DaemonUnreachableError):
            async for event in environment.daemon.events(resume_id=resume_id):
                resume_id = event.resume_id or resume_id
                if event.event_type != "closed":
                    screen.event(event.document)
        await asyncio.sleep(1.0)


async def _keep(environment: Environment, screen: Screen) -> None:
    screen.step("Everything is left running; press Ctrl-C to stop")
    screen.note(f"dashboard {environment.address}, configuration and logs in {environment.directory}")
    screen.note(f"in another terminal: export ORCHESTRATOR_URL={environment.address}; orchestrator groups")
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        # This is how it is meant to end: the processes are stopped in order, and the exit code is 0.
        task = asyncio.current_task()
        if task is not None:
            task.uncancel()
