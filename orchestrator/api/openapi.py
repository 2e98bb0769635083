"""The OpenAPI document, made from the table of operations and the models."""

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from orchestrator import __version__
from orchestrator.access.table import route_rule
from orchestrator.api.callers.authentication import COOKIE
from orchestrator.api.documents.shared import Problem
from orchestrator.api.links import links_of
from orchestrator.api.operation import JSON, Answer, Operation
from orchestrator.api.operations import OPERATIONS
from orchestrator.api.problems import CONTENT_TYPE

_TITLES = {
    400: "A header is missing, wrong, or there twice.",
    401: "Nobody is proven to send the request, or the token is not valid.",
    403: "The caller may not do this, or the request comes from a page of another origin.",
    404: "There is no such thing.",
    408: "The body did not come in time.",
    409: "It can't be done as things are.",
    413: "The body is too large.",
    415: "The body is of a media type that is not read.",
    421: "The Host header names no loopback address.",
    431: "The address or a header is too long.",
    422: "A value is wrong; `field` names it.",
    429: "Too much of this sender's or account's is unfinished.",
    503: "Something that is needed does not answer; ask again.",
}
_EVERYWHERE = (400, 403, 421, 431)
_TAGS = {
    "changes": "Ask for changes, and follow them.",
    "groups": "Groups, and how each member's node stands to them.",
    "nodes": "The configured nodes.",
    "names": "What nodes and groups are called.",
    "attention": "What needs a person.",
    "events": "Status events as they happen.",
    "webhooks": "Where status events are posted, and how that goes.",
    "dead-letters": "Messages that could not be accepted.",
    "tokens": "Tokens of callers.",
    "session": "Who the caller is.",
    "audit-log": "Who asked for what.",
    "daemon": "How the daemon does, and what it offers.",
}
_ABOUT = (
    "Changes of the membership of Hyperledger Besu flexible privacy groups. {access} "
    "Within v1 answers only get further fields: ignore those that you don't know. Every path that "
    "answers GET answers HEAD."
)

_OPEN = "Answers on loopback only; there is no access control."
_GUARDED = "Callers prove who they are by a token; a role and a scope say what each may do."
_SCHEMES = {
    "token": {
        "type": "http",
        "scheme": "bearer",
        "description": "A token of `orchestrator tokens create`, or a JSON Web Token of the configured issuer.",
    },
    "session": {"type": "apiKey", "in": "cookie", "name": COOKIE, "description": "What POST /v1/session sets."},
}


def openapi_document(*, access_control: bool = False) -> dict[str, Any]:
    """Return the API's description in OpenAPI 3.1.

    Args:
        access_control: Whether callers have to prove who they are.
    """
    answers = {answer.model for op in OPERATIONS for answer in op.answers.values() if answer.model is not None}
    bodies = {op.body for op in OPERATIONS if op.body is not None}
    models: list[tuple[type[BaseModel], Any]] = [(model, "serialization") for model in answers | {Problem}]
    models += [(model, "validation") for model in bodies]
    # A set has another order in each process, and the document is to be the same in all.
    models.sort(key=lambda entry: entry[0].__name__)
    _, schemas = models_json_schema(models, ref_template="#/components/schemas/{model}")
    for name, schema in schemas["$defs"].items():
        _plain(name, schema)
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        described = _operation(operation, access_control=access_control)
        paths.setdefault(operation.path, {})[operation.method.lower()] = described
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Besu membership orchestrator",
            "version": __version__,
            "description": _ABOUT.format(access=_GUARDED if access_control else _OPEN),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [
            {
                "url": "http://127.0.0.1:{port}",
                "description": "The daemon, from its own machine.",
                "variables": {"port": {"default": "8080", "description": "That of api.listen."}},
            }
        ],
        "security": [{name: []} for name in _SCHEMES] if access_control else [],
        "tags": [{"name": name, "description": description} for name, description in _TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": schemas["$defs"],
            **({"securitySchemes": _SCHEMES} if access_control else {}),
        },
    }


def _operation(operation: Operation, *, access_control: bool) -> dict[str, Any]:
    unguarded = route_rule(operation.method, operation.path).least is None
    everywhere = {*operation.problems, *_EVERYWHERE, *((401,) if access_control and not unguarded else ())}
    described: dict[str, Any] = {
        "operationId": operation.handler.__name__,
        "summary": (operation.handler.__doc__ or "").strip(),
        "tags": [_tag(operation.path)],
        "parameters": [
            {
                "name": parameter.name,
                "in": parameter.place,
                "description": parameter.description,
                "required": parameter.required,
                "schema": parameter.schema,
            }
            for parameter in operation.parameters
        ],
        "responses": {
            **{str(status): _answer(answer) for status, answer in operation.answers.items()},
            **{str(status): _problem(status) for status in sorted(everywhere)},
        },
    }
    if operation.body is not None:
        described["requestBody"] = {
            "required": operation.body_required,
            "content": {JSON: {"schema": _reference(operation.body)}},
        }
    if access_control and unguarded:
        described["security"] = []
    if operation.description:
        described["description"] = operation.description
    return described


def _tag(path: str) -> str:
    """Return what an operation is about, by which generators put methods into classes: the word behind ``/v1``."""
    _, version, subject, *_ = (*path.split("/"), "")
    return subject if version == "v1" else "daemon"


def _plain(name: str, schema: dict[str, Any]) -> None:
    """Leave out what generators stumble over: defaults make fields required to some, and Go has one scope for names.

    An object that says nothing of further fields is open by JSON Schema, and closed by what openapi-generator makes.
    """
    if schema.get("type") == "object":
        schema.setdefault("additionalProperties", True)
    for field in schema.get("properties", {}).values():
        field.pop("default", None)
    if "enum" in schema:
        schema["x-enum-varnames"] = [f"{name}_{value}".upper() for value in schema["enum"]]


def _answer(answer: Answer) -> dict[str, Any]:
    described: dict[str, Any] = {"description": answer.description}
    if answer.media_type is not None:
        schema = {"type": "string"} if answer.model is None else _reference(answer.model)
        described["content"] = {answer.media_type: {"schema": schema}}
    if links := links_of(answer, OPERATIONS):
        described["links"] = links
    return described


def _problem(status: int) -> dict[str, Any]:
    return {"description": _TITLES[status], "content": {CONTENT_TYPE: {"schema": _reference(Problem)}}}


def _reference(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{model.__name__}"}
