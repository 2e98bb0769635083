"""The API of a running daemon, asked one thing after the other with what it answered before."""

import base64
import json
import secrets
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from tests.integration.events.conftest import Daemon
from tests.servers.nats_server import NatsServer
from tests.servers.ports import free_port

EXAMPLES = 20
STEPS = 10


def a_creation() -> dict[str, Any]:
    return {"kind": "create_group", "members": [base64.b64encode(secrets.token_bytes(32)).decode()]}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A daemon whose nodes are away: whatever is asked for waits, and can be cancelled."""
    folder: Path = tmp_path_factory.mktemp("stateful")
    with NatsServer() as server:
        hook = f'[[webhooks]]\nname = "erp"\nurl = "http://127.0.0.1:{free_port()}/"\nallow_private = true\n'
        daemon = Daemon(folder, server.url, hook, {"ORCHESTRATOR_WEBHOOKS__0__SECRET": "s" * 32})
        daemon.start()
        try:
            headers = {"Content-Type": "application/json", "Idempotency-Key": "first"}
            body = json.dumps(a_creation()).encode()
            for _ in range(600):
                try:
                    with urlopen(Request(f"{daemon.url}/v1/changes", body, headers), timeout=30):  # noqa: S310 - the daemon of this test, on loopback
                        break
                except URLError:
                    time.sleep(0.1)
            yield daemon.url
        finally:
            daemon.kill()


def test_what_was_answered_can_be_asked_about(url: str) -> None:
    """Sequences of requests that use ids from earlier answers are answered as described, and none is a defect."""
    schema: Any = schemathesis.openapi.from_url(f"{url}/openapi.json").exclude(path="/v1/events")
    schema.config.generation.update(modes=[schemathesis.GenerationMode.POSITIVE])

    seen: Counter[str] = Counter()

    class Asking(schema.as_state_machine()):  # type: ignore[misc] # made from the document
        def before_call(self, case: Any) -> None:
            if (case.method, case.path) == ("POST", "/v1/changes"):
                # That keys are base64 of so many bytes no generator guesses.
                case.body = a_creation()
                case.media_type = "application/json"
                case.headers = {"Idempotency-Key": secrets.token_hex(8)}

        def get_call_kwargs(self, *_: Any) -> dict[str, Any]:
            return {"timeout": 60}

        def validate_response(self, response: Any, case: Any, *_: Any, **__: Any) -> None:
            seen[f"{case.method} {case.path} {response.status_code}"] += 1
            # What a group, an account or a deadline may be is more than a schema can say.
            case.validate_response(response, excluded_checks=[positive_data_acceptance])

    Asking.run(
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        )
    )
    followed = [name for name in seen if name.endswith((" 200", " 409"))]
    for path in ("/v1/changes/{change_id}", "/v1/webhooks/{name}"):
        assert any(path in name for name in followed), path  # ids of earlier answers were asked about
