"""The AsyncAPI 3.0 document: what comes in by the message queue and what goes out. Pure, made from the models."""

from typing import Any, Final, Literal

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from orchestrator.engine.attestation.attestation_messages import (
    ATTESTATION_TYPE,
    INQUIRY_TYPE,
    AttestationData,
    InquiryData,
)
from orchestrator.engine.attestation.verdict_messages import VERDICT_TYPE, VerdictData
from orchestrator.engine.intake.requests import REQUEST_TYPE, RequestData
from orchestrator.events.documents.examples import example
from orchestrator.events.documents.schema import DATA, DOCUMENTS
from orchestrator.membership.news.status import EventType

ASYNCAPI_VERSION: Final = "3.0.0"
CLOUD_EVENT: Final = "application/cloudevents+json"
KAFKA_BINDING: Final = "0.5.0"

_SIGNED: Final[dict[str, type[BaseModel]]] = {
    VERDICT_TYPE: VerdictData,
    INQUIRY_TYPE: InquiryData,
    ATTESTATION_TYPE: AttestationData,
}

_Shape = tuple[type[BaseModel], Literal["serialization", "validation"]]

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
    verdicts: str = "membership.verdicts",
) -> dict[str, Any]:
    """Return the document.

    Args:
        version: Version of this program.
        requests: Subject, queue or topic of requests.
        dead: Subject, queue or topic of dead letters.
        events: What stands before the type in the subject or routing key of an event; the topic of all of them.
        verdicts: Subject, exchange or topic of what organisations' daemons tell each other.
    """
    outgoing: list[_Shape] = [(model, "serialization") for model in DOCUMENTS.values()]
    taken: list[type[BaseModel]] = [RequestData, *_SIGNED.values()]
    incoming: list[_Shape] = [(model, "validation") for model in taken]
    _, definitions = models_json_schema(
        [*outgoing, *incoming],
        ref_template="#/components/schemas/{model}",
    )
    schemas: dict[str, Any] = definitions["$defs"]
    schemas["ChangeRequest"] = _event_schema(REQUEST_TYPE, RequestData.__name__) | {
        "description": "A CloudEvents 1.0 document; its id is the idempotency key."
    }
    for kind, model in _SIGNED.items():
        schemas[_signed_title(model)] = _event_schema(kind, model.__name__) | {
            "description": "A CloudEvents 1.0 document; what is in data is signed by the account that it names."
        }
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
                "bindings": _topic(requests),
            },
            "dead": {
                "address": dead,
                "description": "Requests that could not be accepted, as they came.",
                "messages": {"deadLetter": {"$ref": "#/components/messages/deadLetter"}},
                "bindings": _topic(dead),
            },
            "verdicts": {
                "address": verdicts,
                "description": "What the daemons of several organisations tell each other, signed; others need it not.",
                "messages": {
                    _signed_key(model): {"$ref": f"#/components/messages/{_signed_key(model)}"}
                    for model in _SIGNED.values()
                },
                "bindings": _topic(verdicts),
            },
            **{_key(kind): _channel(kind, events) for kind in EventType},
        },
        "operations": {
            "receiveRequest": {"action": "receive", "channel": {"$ref": "#/channels/requests"}},
            "buryRequest": {"action": "send", "channel": {"$ref": "#/channels/dead"}},
            "sendSigned": {"action": "send", "channel": {"$ref": "#/channels/verdicts"}},
            "receiveSigned": {"action": "receive", "channel": {"$ref": "#/channels/verdicts"}},
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
                    "bindings": _KEYED,
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
                **{
                    _signed_key(model): {
                        "name": kind,
                        "summary": " ".join((model.__doc__ or "").split()),
                        "contentType": CLOUD_EVENT,
                        "payload": {"$ref": f"#/components/schemas/{_signed_title(model)}"},
                    }
                    for kind, model in _SIGNED.items()
                },
                **{_key(kind): _message(kind) for kind in EventType},
            },
            "schemas": schemas,
        },
    }


_KEYED: Final = {
    "kafka": {
        "key": {"type": "string", "description": "The privacy group's id, by which its messages keep their order."},
        "bindingVersion": KAFKA_BINDING,
    }
}


def _topic(name: str) -> dict[str, Any]:
    """Return the bindings of a channel: what it is on Kafka, where the address is that of NATS and RabbitMQ."""
    # On Kafka all types are on one topic, in whose partitions alone a group keeps its order; the channels of AsyncAPI
    # are one for each type, as NATS and RabbitMQ have them.
    return {"kafka": {"topic": name, "bindingVersion": KAFKA_BINDING}}


def _event_schema(kind: str, data: str) -> dict[str, Any]:
    text = {"type": "string", "minLength": 1}
    return {
        "type": "object",
        "required": ["specversion", "id", "source", "type", "data"],
        "properties": {
            "specversion": {"const": "1.0"},
            "id": text | {"maxLength": 256},
            "source": text | {"maxLength": 1024},
            "type": {"const": kind},
            "datacontenttype": {"type": "string"},
            "data": {"$ref": f"#/components/schemas/{data}"},
        },
    }


def _signed_title(model: type[BaseModel]) -> str:
    return f"Signed{model.__name__.removesuffix('Data')}"


def _signed_key(model: type[BaseModel]) -> str:
    title = _signed_title(model)
    return title[0].lower() + title[1:]


def _channel(kind: EventType, events: str) -> dict[str, Any]:
    return {
        "address": f"{events}.{kind.value}",
        "description": _sentence(kind),
        "messages": {_key(kind): {"$ref": f"#/components/messages/{_key(kind)}"}},
        "bindings": _topic(events),
    }


def _message(kind: EventType) -> dict[str, Any]:
    return {
        "name": kind.value,
        "summary": _sentence(kind),
        "contentType": CLOUD_EVENT,
        "payload": {"$ref": f"#/components/schemas/{DOCUMENTS[kind].__name__}"},
        "examples": [{"name": kind.value, "payload": example(kind)}],
        "bindings": _KEYED,
    }


def _title(kind: EventType) -> str:
    return DOCUMENTS[kind].__name__


def _key(kind: EventType) -> str:
    title = _title(kind)
    return title[0].lower() + title[1:]


def _sentence(kind: EventType) -> str:
    return " ".join((DATA[kind].__doc__ or "").split())
