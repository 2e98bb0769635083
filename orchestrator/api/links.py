"""Which requests go on from an answer, as OpenAPI has it: what has an id leads to whatever takes that id."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from orchestrator.api.operation import Answer, Operation

_WHERE: Final[Mapping[str, Mapping[str, str]]] = {
    "change_id": {
        "ChangeDocument": "/change_id",
        "ChangeDetailDocument": "/change_id",
        "ChangePage": "/changes/0/change_id",
    },
    "group_id": {
        "ChangeDocument": "/privacy_group_id",
        "GroupDocument": "/privacy_group_id",
        "GroupPage": "/groups/0/privacy_group_id",
    },
    "token_id": {"MadeTokenDocument": "/token_id", "TokenPage": "/tokens/0/token_id"},
    "letter_id": {"DeadLetterPage": "/dead_letters/0/letter_id"},
    "name": {"WebhookDocument": "/name", "WebhooksDocument": "/webhooks/0/name"},
}
"""By the parameter of a path: in which documents its value is, and where."""


def links_of(answer: Answer, operations: Iterable[Operation]) -> dict[str, Any]:
    """Return the operations that take an id out of an answer, as OpenAPI's link objects by their ids."""
    found: dict[str, Any] = {}
    document = "" if answer.model is None else answer.model.__name__
    for operation in operations:
        for parameter in operation.parameters:
            pointer = _WHERE.get(parameter.name, {}).get(document)
            if parameter.place != "path" or pointer is None:
                continue
            if parameter.name == "name" and not operation.path.startswith("/v1/webhooks"):
                continue  # of groups, which have no document of their own
            named = operation.handler.__name__
            found[named] = {"operationId": named, "parameters": {parameter.name: f"$response.body#{pointer}"}}
    return found
