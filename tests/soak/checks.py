"""What must hold at the end of a soak; each function returns what does not, in a line each."""

import asyncio
import json
import re
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import suppress
from functools import partial
from typing import TypeVar

import nats
import sqlalchemy as sa
from nats.js.errors import ServiceUnavailableError

from orchestrator.devnet import Devnet
from tests.integration.faults import chain_truth as truth
from tests.integration.harm.returns import Return, find_return
from tests.integration.harm.truth import find_harm
from tests.patience import patient
from tests.soak.requesting import Group

_EFFECT = {"create_group": "create", "add_members": "add", "remove_members": "remove"}
T = TypeVar("T")

_ANSWER_SECONDS = 2.0
_ELECTION_SECONDS = 60.0

_PARTED = frozenset({"member_diverged", "member_missing", "member_forgotten"})
_ASTRAY = re.compile(r"executed the group last in block (\d+), and at block (\d+) does not show")


def parted_now(devnet: Devnet, groups: Iterable[Group]) -> set[str]:
    """Return the newest requests of groups whose new member really has another state."""
    return {
        group.asked[-1][0]
        for group in groups
        if group.asked[-1:] and group.asked[-1][1] == "add_members" and truth.has_parted(devnet, group.privacy_group_id)
    }


def returns_now(devnet: Devnet, groups: Iterable[Group]) -> dict[str, Return]:
    """Return what the last node has of each group that its member is to return to, by the newest request."""
    asked = {group.asked[-1][0]: group.privacy_group_id for group in groups if group.asked}
    found = {request_id: find_return(devnet, group, len(devnet.nodes)) for request_id, group in asked.items()}
    return {request_id: has for request_id, has in found.items() if has is not None}


def refused_returns(engine: sa.Engine, returns: Mapping[str, Return]) -> set[str]:
    """Return the requests that are parked for what a former member's node really does not show.

    Args:
        engine: The store.
        returns: By request, what the node has of the group.
    """
    statement = "SELECT request_id, reason FROM changes WHERE state = 'parked'"
    with engine.connect() as connection:
        parked = {row.request_id: json.loads(row.reason) for row in connection.execute(sa.text(statement))}
    found = set()
    for request_id, reason in parked.items():
        said, has = _ASTRAY.search(reason["detail"]), returns.get(request_id)
        if reason["slug"] != "former_member_unsafe" or said is None or has is None:
            continue
        if int(said.group(1)) == has.last and int(said.group(2)) in has.astray:
            found.add(request_id)
    return found


def check_changes(engine: sa.Engine, groups: Iterable[Group], parted: Set[str], refused: Set[str]) -> Iterator[str]:
    """Every request that the queue took is one change, and it succeeded, or told that its member really is lost.

    Args:
        engine: The store.
        groups: What was asked for.
        parted: Requests whose member really is lost.
        refused: Requests whose member really may not return.
    """
    statement = "SELECT request_id, state, reason, tries, not_before, failures FROM changes"
    with engine.connect() as connection:
        found = {row.request_id: row for row in connection.execute(sa.text(statement))}
    asked = {request_id for group in groups for request_id, _ in group.asked}
    for request_id in sorted(asked - found.keys()):
        yield f"request {request_id} is lost"
    for request_id in sorted(found.keys() - asked):
        # What was asked for when the soak ended may have been taken without our knowing.
        if found[request_id].state != "succeeded":
            yield f"request {request_id}, whose sending was cut short, is {found[request_id]}"
    for request_id in sorted(asked & found.keys() - refused):
        row = found[request_id]
        told_so = row.state == "parked" and json.loads(row.reason)["slug"] in _PARTED
        if told_so != (request_id in parted) or row.state not in ("succeeded", "parked"):
            yield f"request {request_id}: {row}; its member really is lost: {request_id in parted}"
        elif row.state == "parked" and not told_so:
            yield f"request {request_id} did not succeed: {row}"


def check_chain(
    devnet: Devnet, groups: Iterable[Group], account: str, parted: Set[str], refused: Set[str]
) -> Iterator[str]:
    """Each change that was not refused is effective once, in order; no group is locked; all members agree."""
    keys = [node.enclave_key for node in devnet.nodes]
    for group in groups:
        if not group.asked:
            continue
        group_id = group.privacy_group_id
        asked = [_EFFECT[kind] for request_id, kind in group.asked if request_id not in refused]
        done = truth.actions(devnet, group_id)
        lasting = [action for action in done if action not in ("lock", "unlock")]
        if lasting != asked:
            yield f"group {group_id}: asked for {asked}, done {lasting}"
        if done.count("lock") != done.count("unlock") + done.count("add"):
            yield f"group {group_id}: locks and unlocks do not match: {done}"
        if truth.is_locked(devnet, group_id):
            yield f"group {group_id} is left locked"
        if truth.private_nonce(devnet, group_id, account) != len(done):
            yield f"group {group_id}: private nonce {truth.private_nonce(devnet, group_id, account)}, done {done}"
        count = 3 if lasting[-1:] == ["add"] else 2
        agreeing = 2 if group.asked[-1][0] in parted else count
        if lasting and set(truth.participants(devnet, group_id)) != set(keys[:count]):
            yield f"group {group_id}: the members are {truth.participants(devnet, group_id)}"
        if len(truth.roots(devnet, group_id, range(1, agreeing + 1))) > 1:
            yield f"group {group_id}: its members' state roots differ"


def check_harm(devnet: Devnet, groups: Iterable[Group], parted: Set[str]) -> Iterator[str]:
    """No node is halted, and every member's node has its groups as the chain's transactions lead to."""
    asked = [group for group in groups if group.asked]
    harm = find_harm(devnet, [group.privacy_group_id for group in asked])
    yield from (*harm.halted, *harm.locked)
    known = {group.privacy_group_id for group in asked if group.asked[-1][0] in parted}
    for line in (*harm.lost, *harm.rolled_back):
        if not any(group in line for group in known):
            yield line


Published = tuple[dict[str, list[int]], int]
"""By group the sequences of the events that the queue got, in order; and how many requests are dead letters."""


async def check_events(engine: sa.Engine, read: Callable[[], Awaitable[Published]]) -> list[str]:
    """Each group's events are numbered without a gap, and the queue got each, in order."""
    problems = []
    stored = await asyncio.to_thread(_stored, engine)
    for group, sequences in stored.items():
        if sequences != list(range(1, len(sequences) + 1)):
            problems.append(f"group {group}: stored events are numbered {sequences}")
    published, dead = await read()
    for group, sequences in stored.items():
        first_seen = list(dict.fromkeys(published[group]))
        if first_seen != sequences:
            problems.append(f"group {group}: stored {len(sequences)} events, published {first_seen}")
    return [*problems, *([f"{dead} requests are dead letters"] if dead else [])]


def unpublished(engine: sa.Engine) -> int:
    """Return how many events wait to be published."""
    with engine.connect() as connection:
        return int(connection.execute(sa.text("SELECT count(*) FROM outbox WHERE published_at IS NULL")).scalar_one())


def _stored(engine: sa.Engine) -> dict[str, list[int]]:
    found: dict[str, list[int]] = defaultdict(list)
    statement = "SELECT privacy_group_id, sequence FROM outbox WHERE privacy_group_id <> '' ORDER BY position"
    with engine.connect() as connection:
        for group, sequence in connection.execute(sa.text(statement)):
            found[group].append(sequence)
    return found


async def published_on_nats(nats_url: str) -> Published:
    """Read the streams of a NATS server, or of a cluster."""
    found: dict[str, list[int]] = defaultdict(list)
    connection = await nats.connect(nats_url.split(","))
    try:
        jetstream = connection.jetstream(timeout=_ANSWER_SECONDS)
        dead = (await _answered(lambda: jetstream.stream_info("membership-requests-dead"))).state.messages
        state = (await _answered(lambda: jetstream.stream_info("membership-events"))).state
        for number in range(state.first_seq, state.last_seq + 1):
            message = await _answered(partial(jetstream.get_msg, "membership-events", number))
            event = json.loads(message.data or b"")
            found[event.get("subject", "")].append(int(event["data"]["sequence"]))
    finally:
        await connection.close()
    return found, int(dead)


async def _answered(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask JetStream until it answers: what is asked while its servers choose who leads is answered never."""
    async with asyncio.timeout(patient(_ELECTION_SECONDS)):
        while True:
            with suppress(TimeoutError, ServiceUnavailableError):
                return await ask()
            await asyncio.sleep(_ANSWER_SECONDS / 10)


def told(problems: Sequence[str], most: int = 40) -> str:
    """Return a report, at most so many lines of it."""
    more = [f"… and {len(problems) - most} more"] if len(problems) > most else []
    return "\n".join([*(f"  {problem}" for problem in problems[:most]), *more])
