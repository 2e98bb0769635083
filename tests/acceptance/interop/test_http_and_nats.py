"""Producers, consumers, generators and linters of others, over HTTP and NATS, by the examples of the documentation."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.acceptance.conftest import wait_until
from tests.acceptance.interop.conftest import DOCS, EXAMPLE, Interop, interop
from tests.servers.nats_server import NatsServer

SECRET = "shared with the receiver"


@dataclass
class Posted:
    """What came to the webhook."""

    url: str = ""
    requests: list[tuple[dict[str, str], str]] = field(default_factory=list)
    asked: list[str | None] = field(default_factory=list)


@pytest.fixture(scope="module")
def posted() -> Iterator[Posted]:
    """An endpoint that allows one sender."""
    found = Posted()

    class Endpoint(BaseHTTPRequestHandler):
        def do_OPTIONS(self) -> None:
            found.asked.append(self.headers["WebHook-Request-Origin"])
            self.send_response(200)
            self.send_header("WebHook-Allowed-Origin", "membership.example.org")
            self.end_headers()

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            found.requests.append((dict(self.headers), body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    threading.Thread(target=server.serve_forever).start()
    found.url = f"http://127.0.0.1:{server.server_address[1]}/hook"
    yield found
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def running(folder: Path, posted: Posted) -> Iterator[Interop]:
    """One daemon for all tests here."""
    for name, text in (("secret", SECRET), ("token", "a-token")):
        (folder / name).write_text(text)
        (folder / name).chmod(0o600)
    extra = (
        f'[[webhooks]]\nname = "hook"\nurl = "{posted.url}"\nsecret_file = "secret"\nauthorization_file = "token"\n'
        'origin = "membership.example.org"\nallow_private = true\n'
    )
    with NatsServer() as server, interop(folder, server.url, extra) as found:
        yield found


def test_every_example_is_run() -> None:
    """Each example of the documentation is one that a test here or beside it runs, under its name."""
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    for document in ("events.md", "http.md"):
        names = [name for name, _, _ in EXAMPLE.findall((DOCS / document).read_text())]
        assert names
        for name in names:
            assert f'"{document}", "{name}"' in tests


def test_cloudevents_for_javascript_sends_over_http(running: Interop) -> None:
    """The SDK's emitter, by its default (binary mode) and in structured mode, needs nothing but the address."""
    script = running.example("http.md", "http-js")
    change_id, state = running.javascript(script).split()
    assert running.asked("add-member3-by-cloudevents-js")["change_id"] == change_id
    assert state == "queued"
    structured = script.replace("httpTransport }", "httpTransport, Mode }").replace(
        '/v1/changes"))', '/v1/changes"), { mode: Mode.STRUCTURED })'
    )
    assert structured != script
    assert running.javascript(structured).split()[0] == change_id


def test_cloudevents_for_python_sends_over_http(running: Interop) -> None:
    """The SDK's messages in both modes are one request, since they have one source and id."""
    script = running.example("http.md", "http-python")
    change_id, _ = running.python(script).split()
    structured = script.replace("to_binary_event", "to_structured_event")
    assert running.python(structured).split()[0] == change_id
    assert running.asked("add-member3-by-cloudevents-python")["change_id"] == change_id


def test_cloudevents_for_javascript_sends_over_nats(running: Interop) -> None:
    """Messages of the SDK, published by nats.js in both modes, are requests; a subscriber of nats.js hears of them."""
    subscriber = running.started(running.example("events.md", "nats-js-subscribe"))
    script = running.example("events.md", "nats-js")
    running.javascript(script)
    change = running.asked("add-member3-by-nats-js")
    binary = script.replace("HTTP.structured", "HTTP.binary").replace("by-nats-js", "by-nats-js-binary")
    running.javascript(binary)
    assert running.asked("add-member3-by-nats-js-binary")["kind"] == "add_members"
    told, _ = subscriber.communicate(timeout=30)
    assert subscriber.returncode == 0, told
    source, _, kind, change_id = told.splitlines()[-1].split()
    assert (source.partition(":")[0], kind, change_id) == (
        "urn",
        "membership.change.accepted.v1",
        change["change_id"],
    )


def test_cloudevents_for_python_sends_over_nats(running: Interop) -> None:
    """Messages of the SDK, published by nats-py in both modes, are requests."""
    script = running.example("events.md", "nats-python")
    running.python(script)
    assert running.asked("add-member3-by-nats-python")["kind"] == "add_members"
    structured = script.replace("to_binary_event", "to_structured_event").replace("by-nats-python", "by-nats-python-2")
    running.python(structured)
    assert running.asked("add-member3-by-nats-python-2")["kind"] == "add_members"


def test_a_client_of_generated_types_compiles_and_asks(running: Interop, tmp_path: Path) -> None:
    """openapi-typescript's types take a call without nulls, and openapi-fetch asks by them."""
    modules = running.clients / "node_modules"
    (tmp_path / "node_modules").symlink_to(modules)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "example.ts").write_text(running.example("http.md", "http-ts"))
    node = running.node
    generator = str(modules / "openapi-typescript" / "bin" / "cli.js")
    running.tool(node, generator, f"{running.url}/openapi.json", "-o", "api.d.ts", folder=tmp_path)
    options = ["--strict", "--module", "nodenext", "--target", "es2022", "--skipLibCheck", "--lib", "es2022,dom"]
    running.tool(node, str(modules / "typescript" / "bin" / "tsc"), *options, "example.ts", folder=tmp_path)
    change_id, _ = running.tool(node, "example.js", folder=tmp_path).split()
    assert running.asked("add-member3-by-openapi-fetch")["change_id"] == change_id


def test_a_generated_python_client_asks(running: Interop, tmp_path: Path) -> None:
    """openapi-python-client makes a client of the document, without a warning, and that asks for a change."""
    generator = str(running.clients / ".venv" / "bin" / "openapi-python-client")
    (tmp_path / "config.yml").write_text("post_hooks: []\n")
    said = running.tool(
        generator, "generate", "--url", f"{running.url}/openapi.json", "--config", "config.yml", folder=tmp_path
    )
    assert "WARNING" not in said.upper()
    script = running.example("http.md", "http-python-generated")
    change_id, _ = running.python(script, tmp_path / "besu-membership-orchestrator-client").split()
    assert running.asked("add-member3-by-openapi-python-client")["change_id"] == change_id


def test_the_linter_of_redocly_finds_nothing(running: Interop) -> None:
    """The document keeps redocly's recommended rules."""
    script = """
        import { createConfig, lintFromString } from "@redocly/openapi-core";
        const source = await (await fetch(process.argv[2] + "/openapi.json")).text();
        const config = await createConfig({ extends: ["recommended"] });
        const found = await lintFromString({ source, absoluteRef: "openapi.json", config });
        console.log(JSON.stringify(found.map((one) => [one.ruleId, one.message, one.location[0].pointer])));
    """
    assert json.loads(running.javascript(script, running.url)) == []


def test_event_sources_of_others_read_the_stream(running: Interop) -> None:
    """The first thing that eventsource and httpx-sse give is the first event, with its id, name and data."""
    running.python(running.example("http.md", "http-python"))
    change = running.asked("add-member3-by-cloudevents-python")["change_id"]
    javascript = running.javascript(running.example("http.md", "sse-js")).splitlines()
    python = running.python(running.example("http.md", "sse-python")).splitlines()
    assert javascript[0] == python[0]
    place, event_id, change_id = python[0].split()
    assert (place, len(event_id), len(change_id)) == ("1", 36, len(change))


def test_standard_webhooks_verifies_what_is_posted(running: Interop, posted: Posted) -> None:
    """Its library takes the body with the headers as they came; a changed body is refused."""
    running.python(running.example("http.md", "http-python"))
    headers, body = wait_until("a webhook", lambda: posted.requests and posted.requests[0])
    assert set(posted.asked) == {"membership.example.org"}
    assert headers["Authorization"] == "Bearer a-token"
    call = f"""
import json
headers, body = json.loads({json.dumps([headers, body])!r})
print(read(body.encode(), headers, {SECRET.encode()!r})["id"])
try:
    read(body.replace("queued", "failed").encode(), headers, {SECRET.encode()!r})
except Exception as error:
    print(type(error).__name__)
"""
    example = running.example("events.md", "webhook-python")
    assert running.python(example + call).splitlines() == [json.loads(body)["id"], "WebhookVerificationError"]
