"""The AsyncAPI 3.0 document: what comes in by the message queue and what goes out. Pure, made from the models."""

from typing import Any, Final

from pydantic.json_schema import models_json_schema

from orchestrator.engine.requests import REQUEST_TYPE, RequestData
from orchestrator.events.examples import example
from orchestrator.events.schema import DATA, DOCUMENTS
from orchestrator.membership.status import EventType

ASYNCAPI_VERSION: Final = "3.0.0"
CLOUD_EVENT: Final = "application/cloudevents+json"

_ABOUT: Final = (
    "Changes of the members of Besu flexible privacy groups: requests come in by a message queue, status events go out "
    "on it. The same events are served at /v1/events (server-sent events) and posted to webhooks. Everything is "
    "delivered at least once: an event that comes again has the same id. Within a group events are ordered, and "
    "data.sequence counts them without gaps."
)


def asyncapi_document(
    *,
    version: str,
    requests: str = "membership.requests",
    dead: str = "membership.requests.dead",
    events: str = "membership.events",
) -> dict[str, Any]:
    """Return the document.

    Args:
        version: Version of this program.
        requests: Subject or queue of requests.
        dead: Subject or queue of dead letters.
        events: What stands before the type in the subject or routing key of an event.
    """
    _, definitions = models_json_schema(
        [(model, "serialization") for model in DOCUMENTS.values()] + [(RequestData, "validation")],
        ref_template="#/components/schemas/{model}",
    )
    schemas: dict[str, Any] = definitions["$defs"]
    schemas["ChangeRequest"] = _request_schema()
    return {
        "asyncapi": ASYNCAPI_VERSION,
        "info": {
            "title": "Membership of Besu flexible privacy groups",
            "version": version,
            "description": _ABOUT,
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": CLOUD_EVENT,
        "channels": {
            "requests": {
                "address": requests,
                "description": "Requests for changes.",
                "messages": {"changeRequested": {"$ref": "#/components/messages/changeRequested"}},
            },
            "dead": {
                "address": dead,
                "description": "Requests that could not be accepted, as they came.",
                "messages": {"deadLetter": {"$ref": "#/components/messages/deadLetter"}},
            },
            **{_key(kind): _channel(kind, events) for kind in EventType},
        },
        "operations": {
            "receiveRequest": {"action": "receive", "channel": {"$ref": "#/channels/requests"}},
            "buryRequest": {"action": "send", "channel": {"$ref": "#/channels/dead"}},
            **{
                f"send{_title(kind)}": {"action": "send", "channel": {"$ref": f"#/channels/{_key(kind)}"}}
                for kind in EventType
            },
        },
        "components": {
            "messages": {
                "changeRequested": {
                    "name": REQUEST_TYPE,
                    "contentType": CLOUD_EVENT,
                    "payload": {"$ref": "#/components/schemas/ChangeRequest"},
                },
                "deadLetter": {
                    "name": "deadLetter",
                    "description": "The message's original bytes; the headers say why.",
                    "headers": {
                        "type": "object",
                        "properties": {
                            "orchestrator-reason": {"type": "string", "description": "Why it could not be accepted."},
                            "orchestrator-source": {"type": "string", "description": "Where it came in."},
                        },
                    },
                },
                **{_key(kind): _message(kind) for kind in EventType},
            },
            "schemas": schemas,
        },
    }


def _request_schema() -> dict[str, Any]:
    text = {"type": "string", "minLength": 1}
    return {
        "type": "object",
        "description": "A CloudEvents 1.0 document; its id is the idempotency key.",
        "required": ["specversion", "id", "source", "type", "data"],
        "properties": {
            "specversion": {"const": "1.0"},
            "id": text | {"maxLength": 256},
            "source": text | {"maxLength": 1024},
            "type": {"const": REQUEST_TYPE},
            "datacontenttype": {"type": "string"},
            "data": {"$ref": "#/components/schemas/RequestData"},
        },
    }


def _channel(kind: EventType, events: str) -> dict[str, Any]:
    return {
        "address": f"{events}.{kind.value}",
        "description": _sentence(kind),
        "messages": {_key(kind): {"$ref": f"#/components/messages/{_key(kind)}"}},
    }


def _message(kind: EventType) -> dict[str, Any]:
    return {
        "name": kind.value,
        "summary": _sentence(kind),
        "contentType": CLOUD_EVENT,
        "payload": {"$ref": f"#/components/schemas/{DOCUMENTS[kind].__name__}"},
        "examples": [{"name": kind.value, "payload": example(kind)}],
    }


def _title(kind: EventType) -> str:
    return DOCUMENTS[kind].__name__


def _key(kind: EventType) -> str:
    title = _title(kind)
    return title[0].lower() + title[1:]


def _sentence(kind: EventType) -> str:
    return " ".join((DATA[kind].__doc__ or "").split())
