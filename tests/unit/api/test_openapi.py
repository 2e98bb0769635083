"""The OpenAPI document describes what the API really does."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import jsonschema
import pytest
import schemathesis
from aiohttp import web
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from orchestrator.api import make_api
from orchestrator.api.openapi import openapi_document
from orchestrator.api.operations import EVENT_STREAM, OPERATIONS
from orchestrator.api.ports import GroupStanding
from tests.fakes.http_api import GROUP, FakeParts, Letter, make_change, make_parked_change

schema = schemathesis.openapi.from_dict(openapi_document())
finite = [op.handler.__name__ for op in OPERATIONS if all(a.media_type != EVENT_STREAM for a in op.answers.values())]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The API in a thread of its own, with something of everything in it."""
    parts = FakeParts()
    for change in (make_change("change-1"), make_parked_change("change-2")):
        parts.record.stored[change.change_id] = change
    parts.groups.known[GROUP] = GroupStanding(privacy_group_id=GROUP)
    parts.dead_letters.letters["7"] = Letter(letter_id="7", reason="why", body=b"{}")
    found: list[str] = []
    started = threading.Event()
    stop: list[Callable[[], object]] = []

    async def serve() -> None:
        runner = web.AppRunner(make_api(parts.services()))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        found.append(f"http://127.0.0.1:{runner.addresses[0][1]}")
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        stop.append(lambda: loop.call_soon_threadsafe(ended.set))
        started.set()
        await ended.wait()
        await runner.cleanup()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert started.wait(10)
    yield found[0]
    stop[0]()
    thread.join(10)


@schema.include(operation_id=finite).parametrize()
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_answer_is_as_described(case: schemathesis.Case[Any], address: str) -> None:
    """Whatever is sent, the status, the headers and the document of the answer are those that are described."""
    case.call_and_validate(base_url=address, excluded_checks=[positive_data_acceptance])


def test_the_document_is_valid() -> None:
    """The document follows OpenAPI 3.1's rules that tools rely on: unique operations, resolvable references."""
    document = openapi_document()
    operations = [entry for path in document["paths"].values() for entry in path.values()]
    names = [entry["operationId"] for entry in operations]
    assert len(set(names)) == len(names)
    assert all(entry["summary"] for entry in operations)
    for model in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(model)
    for reference in references(document):
        assert reference.removeprefix("#/components/schemas/") in document["components"]["schemas"]


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)
