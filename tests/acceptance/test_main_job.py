"""A group made and used by the public client; a member added by a message; the client sees three members."""

import asyncio
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.js import JetStreamContext
from nats.js.errors import NoStreamResponseError

from tests.acceptance.conftest import (
    APPLICATION_KEY,
    ENCLAVE_KEYS,
    GROUP,
    OWNER_KEY,
    DaemonProcess,
    DevnetProcess,
    trigger,
    wait_until,
)
from tests.patience import patient

CLIENT = Path(__file__).parent / "clients" / "consortium.js"


@pytest.fixture
def consortium(node_path: str, web3js_quorum_folder: Path) -> Callable[..., Any]:
    """Run the public client; returns what it printed last (before that it tells what it waits for)."""

    def run(*arguments: object) -> Any:
        done = subprocess.run(
            [node_path, str(CLIENT), *map(str, arguments)],
            cwd=web3js_quorum_folder,
            capture_output=True,
            text=True,
            timeout=patient(120),
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return run


async def publish(url: str, *messages: bytes) -> None:
    """Put requests on the queue as any client would."""
    connection = await nats.connect(url)
    stream = connection.jetstream()
    for message in messages:
        await published(stream, message)
    await connection.close()


async def published(stream: JetStreamContext, message: bytes, subject: str = "membership.requests") -> None:
    """Publish as a careful client does: no answer of the stream means that it has to be sent again."""
    for _ in range(300):
        try:
            await stream.publish(subject, message, timeout=10)
        except NoStreamResponseError:
            await asyncio.sleep(0.1)
        else:
            return
    raise AssertionError("the stream of requests does not answer")


async def dead_letters(url: str, count: int) -> list[tuple[str, bytes]]:
    """Return (reason, body) of the requests that could not be accepted."""
    connection = await nats.connect(url)
    subscription = await connection.jetstream().subscribe("membership.requests.dead", ordered_consumer=True)
    found = []
    for _ in range(count):
        message = await subscription.next_msg(timeout=patient(20))
        found.append((" ".join((message.headers or {}).values()), message.data))
    await connection.close()
    return found


async def status_events(url: str, until: str, seconds: float = 60) -> list[dict[str, Any]]:
    """Return the status events from the beginning up to the first of a type."""
    connection = await nats.connect(url)
    subscription = await connection.jetstream().subscribe("membership.events.>", ordered_consumer=True)
    seen: list[dict[str, Any]] = []
    while not seen or seen[-1]["type"] != until:
        message = await subscription.next_msg(timeout=patient(seconds))
        seen.append(json.loads(message.data))
    await connection.close()
    return seen


def test_a_group_of_the_public_client_gets_a_third_member(
    devnet_process: Callable[..., DevnetProcess],
    daemon_process: Callable[..., DaemonProcess],
    nats_url: str,
    consortium: Callable[..., Any],
) -> None:
    """A group made and written to by web3js-quorum gets a member by a message, and that client then finds three."""
    devnet = devnet_process("22.4.4", 0.5)
    daemon = daemon_process(devnet, nats_url)
    created = consortium("create", devnet.http(1), 1337, OWNER_KEY, GROUP, ENCLAVE_KEYS[0], ENCLAVE_KEYS[1])
    assert created["status"] == "0x1"
    written = consortium("write", devnet.http(2), 1337, APPLICATION_KEY, GROUP, ENCLAVE_KEYS[1], 5)
    assert written["statuses"] == ["0x1"] * 5

    asyncio.run(publish(nats_url, trigger("add-third", "add_members", ENCLAVE_KEYS[2:])))
    change = daemon.settled("add-third")
    assert change["state"] == "succeeded", change
    seen = consortium("look", devnet.http(3), 1337, GROUP, *ENCLAVE_KEYS)
    assert seen["found"] == [GROUP]
    assert sorted(seen["participants"]) == sorted(ENCLAVE_KEYS)

    events = asyncio.run(status_events(nats_url, "membership.change.succeeded.v1"))
    assert [event["data"]["sequence"] for event in events] == list(range(1, len(events) + 1))
    types = [event["type"].removeprefix("membership.").removesuffix(".v1") for event in events]
    order = ["change.accepted", "change.started", "group.locking", "group.locked", "group.unlocked"]
    assert [name for name in types if name in order] == order
    assert "group.members_changed" in types


def test_an_add_keeps_two_blocks_from_its_lock_and_no_more_with_a_history_of_200(
    devnet_process: Callable[..., DevnetProcess], daemon_process: Callable[..., DaemonProcess], nats_url: str
) -> None:
    """With 200 private transactions to replay and 1 s blocks, the lock is in block n and the add in block n + 2.

    Where others share the machine blocks take longer, as everything does; also where they come only meanwhile.
    """
    period = patient(1.0)
    devnet = devnet_process("23.10.3", period, "--history", "200")

    def keep_pace() -> None:
        nonlocal period
        if (longer := patient(1.0)) > 1.5 * period:  # the next block's time begins anew each time
            period = longer
            devnet.call(1, "devnet_setBlockPeriod", period)

    daemon = daemon_process(devnet, nats_url)
    found = devnet.call(1, "privx_findFlexiblePrivacyGroup", list(ENCLAVE_KEYS[:2]))
    group = found[0]["privacyGroupId"]
    message = trigger("add-third", "add_members", ENCLAVE_KEYS[2:], privacy_group_id=group)
    asyncio.run(publish(nats_url, message))
    assert daemon.settled("add-third", meanwhile=keep_pace)["state"] == "succeeded"
    events = asyncio.run(status_events(nats_url, "membership.change.succeeded.v1"))
    (unlocked,) = [event for event in events if event["type"] == "membership.group.unlocked.v1"]
    assert unlocked["data"]["locked_blocks"] == 2


UNKNOWN_GROUP = "dW5rbm93biBncm91cCBvZiB0aGUgYWNjZXB0YW5jZSE="
BAD = {
    "data.kind": trigger("bad-kind", "befriend", ENCLAVE_KEYS[2:]),
    "data.privacy_group_id": trigger("bad-group", "add_members", ENCLAVE_KEYS[2:], privacy_group_id="c2hvcnQ="),
    "data.members.0": trigger("bad-key", "add_members", ("c2hvcnQ=",)),
    "data.members": trigger("no-members", "add_members"),
    "names": trigger("twice", "add_members", (ENCLAVE_KEYS[2], ENCLAVE_KEYS[2])),
    "data.account": trigger(
        "bad-account", "add_members", ENCLAVE_KEYS[2:], account="0x00000000000000000000000000000000000000aa"
    ),
    "no configured node has this group": trigger(
        "unknown-group",
        "add_members",
        ENCLAVE_KEYS[2:],
        privacy_group_id=UNKNOWN_GROUP,
    ),
    "body": b'{"specversion": "1.0", "padding": "' + b"x" * 300_000 + b'"}',
}


def test_bad_requests_are_dead_lettered_and_good_ones_go_on(
    devnet_process: Callable[..., DevnetProcess], daemon_process: Callable[..., DaemonProcess], nats_url: str
) -> None:
    """Each mistake is dead-lettered with a reason that names the field; what comes after is done as asked."""
    devnet = devnet_process("23.10.3", 0.5)
    daemon = daemon_process(devnet, nats_url)
    good = trigger("create", "create_group", ENCLAVE_KEYS[:2])
    asyncio.run(publish(nats_url, *BAD.values(), b"\x00 no json", good))
    assert daemon.settled("create")["state"] == "succeeded"
    letters = asyncio.run(dead_letters(nats_url, len(BAD) + 1))
    for expected, message in BAD.items():
        reasons = [
            reason for reason, body in letters if body == message or (len(message) > 256_000 and expected in reason)
        ]
        assert reasons, (expected, [reason for reason, _ in letters])
        assert expected in reasons[0]
    assert daemon.running.poll() is None


def test_a_stopped_daemon_leaves_no_lock_and_goes_on_when_it_is_back(
    devnet_process: Callable[..., DevnetProcess], daemon_process: Callable[..., DaemonProcess], nats_url: str
) -> None:
    """SIGTERM in the middle of an add ends with exit code 0, an unlocked group, and the change ends after a restart."""
    period = min(2.0, patient(1.0))
    devnet = devnet_process("23.10.3", period)
    daemon = daemon_process(devnet, nats_url)
    asyncio.run(publish(nats_url, trigger("create", "create_group", ENCLAVE_KEYS[:2])))
    assert daemon.settled("create")["state"] == "succeeded"
    asyncio.run(publish(nats_url, trigger("add", "add_members", ENCLAVE_KEYS[2:])))
    wait_until("the lock on its way", lambda: devnet.call(1, "txpool_besuTransactions"))
    # No block from here on but the lock's: the window stays open until the daemon was told to end.
    devnet.call(1, "devnet_setBlockPeriod", 0)

    def adding() -> bool:
        return any(change["state"] == "adding" for change in daemon.changes())

    if not adding() and devnet.call(1, "txpool_besuTransactions"):
        devnet.call(1, "devnet_mine", 1)
    wait_until("the lock window", adding)
    daemon.running.terminate()
    devnet.call(1, "devnet_setBlockPeriod", period)
    assert daemon.running.wait(patient(30)) == 0
    call = {"to": "0x000000000000000000000000000000000000007c", "data": "0x78b90337"}
    assert int(devnet.call(1, "priv_call", GROUP, call, "latest"), 16) == 1

    again = daemon_process(devnet, nats_url)
    assert again.settled("add")["state"] == "succeeded"
    log = again.log.read_text()
    assert OWNER_KEY not in log
