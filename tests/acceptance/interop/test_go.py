"""Producers and consumers in Go, over HTTP and NATS, by the examples of the documentation."""

import json
from pathlib import Path

from tests.acceptance.interop.conftest import Interop

# The headers that the SDK's binding for JetStream gives a message in binary mode.
BINARY = """
	message := nats.NewMsg("membership.requests")
	message.Header = nats.Header{
		"content-type": {request.DataContentType()}, "ce-id": {request.ID()}, "ce-source": {request.Source()},
		"ce-specversion": {request.SpecVersion()}, "ce-type": {request.Type()},
	}
	message.Data = request.Data()
	if _, err := stream.PublishMsg(context.Background(), message); err != nil {
"""


def test_cloudevents_for_go_sends_over_http(running: Interop, tmp_path: Path) -> None:
    """The SDK's client, by its default (binary mode) and in structured mode, needs nothing but the address."""
    program = running.example("http.md", "http-go")
    assert running.go(running.go_module(tmp_path, program)) == "accepted\n"
    change = running.asked("add-member3-by-cloudevents-go")
    structured = program.replace(
        "ctx := context.Background()", "ctx := cloudevents.WithEncodingStructured(context.Background())"
    )
    assert structured != program
    assert running.go(running.go_module(tmp_path, structured)) == "accepted\n"
    changes = running.get("/v1/changes?limit=500")["changes"]
    asked = [found["change_id"] for found in changes if found["request_id"] == change["request_id"]]
    assert asked == [change["change_id"]]


def test_cloudevents_for_go_is_told_why_it_is_refused(running: Interop, tmp_path: Path) -> None:
    """What is no request is no ACK, and the reason is in the result."""
    program = running.example("http.md", "http-go").replace('"add_members"', '"admit_members"')
    script = program.replace("log.Fatal(result)", "fmt.Println(result)\n\t\treturn")
    told = running.go(running.go_module(tmp_path, script))
    assert "422" in told
    assert '"field":"kind"' in told


def test_nats_go_sends_and_hears(running: Interop, tmp_path: Path) -> None:
    """Messages of the SDK, published by nats.go in both modes, are requests; a consumer of nats.go hears of them."""
    program = running.example("events.md", "nats-go")
    running.go(running.go_module(tmp_path, program))
    change = running.asked("add-member3-by-nats-go")
    told = running.go(running.go_module(tmp_path, running.example("events.md", "nats-go-subscribe")))
    source, _, kind, change_id = told.splitlines()[-1].split()
    assert source.startswith("urn:uuid:")
    assert (kind, change_id) == ("membership.change.accepted.v1", change["change_id"])

    made, _, after = program.replace("by-nats-go", "by-nats-go-binary").partition("\tbody, err :=")
    _, _, after = after.partition('"membership.requests", body); err != nil {\n')
    binary = made.replace('\t"encoding/json"\n', "") + BINARY.lstrip("\n") + after
    running.go(running.go_module(tmp_path, binary))
    assert running.asked("add-member3-by-nats-go-binary")["kind"] == "add_members"


def test_the_command_line_of_nats_sends_and_hears(running: Interop) -> None:
    """What `nats pub` sends, stored or not waited for, whole or with attributes in headers, is a request."""
    whole = running.example("events.md", "nats-cli")
    running.shell(whole)
    assert running.asked("add-member3-by-nats-cli")["kind"] == "add_members"
    running.shell(whole.replace("pub -J", "pub").replace("by-nats-cli", "by-nats-cli-core"))
    assert running.asked("add-member3-by-nats-cli-core")["kind"] == "add_members"

    command, _, document = whole.partition("'")
    event = json.loads(document.rstrip()[:-1]) | {"id": "add-member3-by-nats-cli-binary"}
    headers = " ".join(f"-H ce-{name}:{value}" for name, value in event.items() if name != "data")
    running.shell(f"{command.replace('pub -J', f'pub -J {headers}')} '{json.dumps(event['data'])}'")
    assert running.asked("add-member3-by-nats-cli-binary")["kind"] == "add_members"

    # It may print more than it was asked for, when they came together.
    heard = json.loads(running.shell(running.example("events.md", "nats-cli-subscribe")).splitlines()[0])
    assert heard["type"].startswith("membership.")
    assert heard["source"].startswith("urn:uuid:")
