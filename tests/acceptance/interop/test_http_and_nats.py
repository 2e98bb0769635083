"""Producers and consumers of others, over HTTP and NATS, by the examples of the documentation."""

import json
from pathlib import Path

from tests.acceptance.conftest import wait_until
from tests.acceptance.interop.conftest import DOCS, EXAMPLE, SECRET, Interop, Posted
from tests.patience import patient


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
    told, _ = subscriber.communicate(timeout=patient(30))
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


def test_cloudevents_receivers_read_what_is_posted(running: Interop, posted: Posted, tmp_path: Path) -> None:
    """The SDKs for JavaScript, Python and Go take a webhook's request for a valid event, extensions and all."""
    running.python(running.example("http.md", "http-python"))
    headers, body = wait_until("a webhook", lambda: posted.requests and posted.requests[0])
    event = json.loads(body)
    wanted = [event["id"], event["source"], event["sequence"], event["data"]["change_id"]]
    request = json.dumps({"headers": {name.lower(): value for name, value in headers.items()}, "body": body})
    told = running.javascript(
        """
        import { HTTP } from "cloudevents";
        const event = HTTP.toEvent(JSON.parse(process.argv[2]));
        event.validate();
        console.log(event.id, event.source, event.sequence, event.data.change_id);
        """,
        request,
    )
    assert told.split() == wanted
    told = running.python(
        f"""
import json
from cloudevents.core.bindings.http import HTTPMessage, from_http_event
request = json.loads({request!r})
event = from_http_event(HTTPMessage(request["headers"], request["body"].encode()))
print(event.get_id(), event.get_source(), event.get_extension("sequence"), event.get_data()["change_id"])
"""
    )
    assert told.split() == wanted
    program = f"""
package main

import (
	"fmt"
	"log"
	"net/http"
	"strings"

	cloudevents "github.com/cloudevents/sdk-go/v2"
)

func main() {{
	request, err := http.NewRequest("POST", "http://127.0.0.1/hook", strings.NewReader({json.dumps(body)}))
	if err != nil {{
		log.Fatal(err)
	}}
	request.Header.Set("Content-Type", {json.dumps(headers["Content-Type"])})
	event, err := cloudevents.NewEventFromHTTPRequest(request)
	if err != nil {{
		log.Fatal(err)
	}}
	if err := event.Validate(); err != nil {{
		log.Fatal(err)
	}}
	var data struct {{
		ChangeID string `json:"change_id"`
	}}
	if err := event.DataAs(&data); err != nil {{
		log.Fatal(err)
	}}
	fmt.Println(event.ID(), event.Source(), event.Extensions()["sequence"], data.ChangeID)
}}
"""
    assert running.go(running.go_module(tmp_path, program)).split() == wanted
