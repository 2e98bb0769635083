"""Every operation of the API in one table: the routes are made from it, and so is ``/openapi.json``."""

from dataclasses import replace
from typing import Any, Final

from orchestrator.api.access_operations import ACCESS_OPERATIONS
from orchestrator.api.documents.changes import CancelDocument, ChangeDetailDocument, ChangeDocument, ChangePage
from orchestrator.api.documents.forecasts import ForecastDocument, RemovalForecastDocument
from orchestrator.api.documents.groups import DesiredMembers, GroupDocument, GroupPage
from orchestrator.api.documents.names import NAME_PATTERN, GroupNameDocument, NamedGroup, NamesDocument
from orchestrator.api.documents.overview import AttentionDocument, NodesDocument
from orchestrator.api.documents.shared import DeadLetterPage, ReadinessDocument
from orchestrator.api.documents.webhooks import SendAgainDocument, TriedDocument, WebhookDocument, WebhooksDocument
from orchestrator.api.inputs import (
    DEFAULT_PAGE,
    GROUP_PATTERN,
    GROUP_PREFIX_PATTERN,
    ID_PATTERN,
    MAX_PAGE,
    MOST_FORECAST,
)
from orchestrator.api.operation import EVENT_STREAM, TEXT, Answer, Operation, Parameter, Schema
from orchestrator.api.resources import changes, groups, names, overview, stream, upkeep, webhooks
from orchestrator.engine.intake.requests import RequestData
from orchestrator.membership.model import State
from orchestrator.membership.news.status import EventType

_KEY = Parameter(
    name="Idempotency-Key",
    place="header",
    description="The request's id, chosen by the client, as it is or in quotes: sending the same request again under "
    "it is safe.",
    schema={"type": "string", "minLength": 1, "maxLength": 256},
    required=True,
)
_KEY_OR_EVENT = replace(
    _KEY, description=f"{_KEY.description} Required, except with a CloudEvent, which has an id.", required=False
)
_CHANGE = Parameter(
    name="change_id",
    place="path",
    description="The change.",
    schema={"type": "string", "pattern": ID_PATTERN},
    required=True,
)
_GROUP = Parameter(
    name="group_id",
    place="path",
    description="The privacy group id as base64url.",
    schema={"type": "string", "pattern": "^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$"},
    required=True,
)
_GROUP_FILTER = Parameter(
    name="group",
    place="query",
    description="Only this group; base64url or base64.",
    schema={"type": "string", "pattern": "^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]=?$"},
)
_LIMIT = Parameter(
    name="limit",
    place="query",
    description="At most so many.",
    schema={"type": "integer", "minimum": 1, "maximum": MAX_PAGE, "default": DEFAULT_PAGE},
)


def _query(name: str, description: str, **schema: Any) -> Parameter:
    return Parameter(name=name, place="query", description=description, schema=schema)


def _forecast_of(whom: str) -> Parameter:
    return Parameter(
        name="members",
        place="query",
        description=f"{whom}, base64 or base64url; repeated for several.",
        schema={
            "type": "array",
            "items": {"type": "string", "pattern": "^[A-Za-z0-9+/_-]{43,122}={0,2}$"},
            "minItems": 1,
            "maxItems": MOST_FORECAST,
        },
        required=True,
    )


_WEBHOOK = Parameter(
    name="name",
    place="path",
    description="The webhook's name in the configuration.",
    schema={"type": "string", "minLength": 1, "maxLength": 128},
    required=True,
)
_NAME: Schema = {"type": "string", "pattern": NAME_PATTERN}
_ACCEPTED = {
    202: Answer(description="Accepted; Location names the change.", model=ChangeDocument),
    200: Answer(description="Was asked for before under this id; the same change.", model=ChangeDocument),
}

OPERATIONS: Final = (
    Operation(
        method="POST",
        path="/v1/changes",
        handler=changes.post_change,
        parameters=(_KEY_OR_EVENT,),
        body=RequestData,
        # Not among the bodies: generators make of several media types what cannot be called.
        description="Also takes CloudEvents, in binary, structured and batched mode; /asyncapi.json has their schema.",
        answers=_ACCEPTED,
        problems=(400, 408, 413, 415, 422, 429, 503),
    ),
    Operation(
        method="GET",
        path="/v1/changes",
        handler=changes.list_changes,
        parameters=(
            _GROUP_FILTER,
            Parameter(
                name="state",
                place="query",
                description="Only these states; may be repeated.",
                schema={"type": "array", "items": {"enum": [state.value for state in State]}, "maxItems": 32},
            ),
            _query("id", "Only those whose id begins so.", type="string", pattern=ID_PATTERN),
            _query("request", "Only those of the request with this id.", type="string", minLength=1, maxLength=256),
            _LIMIT,
            _query("before", "The `next` of the page before.", type="string", pattern=ID_PATTERN),
            _query("count", "Whether to say how many there are on all pages.", type="boolean", default=False),
        ),
        answers={200: Answer(description="Changes, newest first.", model=ChangePage)},
        problems=(422, 503),
    ),
    Operation(
        method="GET",
        path="/v1/changes/{change_id}",
        handler=changes.get_change,
        parameters=(_CHANGE,),
        answers={200: Answer(description="The change.", model=ChangeDetailDocument)},
        problems=(404, 422, 503),
    ),
    Operation(
        method="POST",
        path="/v1/changes/{change_id}/retry",
        handler=changes.retry_change,
        parameters=(_CHANGE,),
        body=CancelDocument,
        body_required=False,
        answers={200: Answer(description="It is queued again.", model=ChangeDocument)},
        problems=(404, 408, 409, 413, 415, 422, 503),
    ),
    Operation(
        method="POST",
        path="/v1/changes/{change_id}/cancel",
        handler=changes.cancel_change,
        parameters=(_CHANGE,),
        body=CancelDocument,
        body_required=False,
        answers={200: Answer(description="It is cancelled, or given up as soon as it can be.", model=ChangeDocument)},
        problems=(404, 408, 409, 413, 415, 422, 503),
    ),
    Operation(
        method="GET",
        path="/v1/groups",
        handler=groups.list_groups,
        parameters=(
            _query("id", "Only those whose id begins so.", type="string", pattern=GROUP_PREFIX_PATTERN),
            _LIMIT,
            _query("after", "The `next` of the page before.", type="string", pattern=GROUP_PATTERN),
        ),
        answers={200: Answer(description="Known groups.", model=GroupPage)},
        problems=(422, 503),
    ),
    Operation(
        method="GET",
        path="/v1/groups/{group_id}",
        handler=groups.get_group,
        parameters=(_GROUP,),
        answers={200: Answer(description="The group.", model=GroupDocument)},
        problems=(404, 422, 503),
    ),
    Operation(
        method="GET",
        path="/v1/groups/{group_id}/forecast",
        handler=groups.get_forecast,
        parameters=(
            _GROUP,
            _forecast_of("The enclave keys to add"),
        ),
        answers={200: Answer(description="What is to be expected.", model=ForecastDocument)},
        problems=(404, 422, 503),
    ),
    Operation(
        method="GET",
        path="/v1/groups/{group_id}/forecast/removal",
        handler=groups.get_removal_forecast,
        parameters=(_GROUP, _forecast_of("The enclave keys to remove")),
        answers={200: Answer(description="Whether they could come back.", model=RemovalForecastDocument)},
        problems=(404, 422, 503),
    ),
    Operation(
        method="PUT",
        path="/v1/groups/{group_id}/members",
        handler=groups.put_members,
        parameters=(_GROUP, _KEY),
        body=DesiredMembers,
        answers=_ACCEPTED,
        problems=(400, 408, 413, 415, 422, 429, 503),
    ),
    Operation(
        method="GET",
        path="/v1/attention",
        handler=overview.list_needs,
        answers={200: Answer(description="What needs a person, the most urgent first.", model=AttentionDocument)},
        problems=(422, 503),
    ),
    Operation(
        method="GET",
        path="/v1/nodes",
        handler=overview.list_nodes,
        answers={200: Answer(description="The nodes.", model=NodesDocument)},
        problems=(422, 503),
    ),
    Operation(
        method="GET",
        path="/v1/names",
        handler=names.list_names,
        answers={200: Answer(description="All names.", model=NamesDocument)},
        problems=(422, 503),
    ),
    Operation(
        method="PUT",
        path="/v1/names/{name}",
        handler=names.put_name,
        parameters=(Parameter(name="name", place="path", description="The name.", schema=_NAME, required=True),),
        body=NamedGroup,
        answers={200: Answer(description="It stands for the group.", model=GroupNameDocument)},
        problems=(408, 409, 413, 415, 422, 503),
    ),
    Operation(
        method="GET",
        path="/v1/events",
        handler=stream.stream_events,
        parameters=(
            _GROUP_FILTER,
            _query("change", "Only this change.", type="string", pattern=ID_PATTERN),
            Parameter(
                name="type",
                place="query",
                description="Only these types; may be repeated.",
                schema={"type": "array", "items": {"enum": [kind.value for kind in EventType]}, "maxItems": 32},
            ),
            Parameter(
                name="Last-Event-ID",
                place="header",
                description="Go on behind this event; 0 for the oldest that is kept. Without it: only new ones.",
                schema={"type": "string", "pattern": "^[0-9]{1,18}$"},
            ),
            Parameter(
                name="last_event_id",
                place="query",
                description="The same, for clients that can't set headers.",
                schema={"type": "string", "pattern": "^[0-9]{1,18}$"},
            ),
        ),
        answers={200: Answer(description="Status events, for ever.", media_type=EVENT_STREAM)},
        problems=(422, 503),
    ),
    Operation(
        method="GET",
        path="/v1/dead-letters",
        handler=upkeep.list_dead_letters,
        parameters=(_LIMIT,),
        answers={200: Answer(description="The oldest dead letters.", model=DeadLetterPage)},
        problems=(422, 503),
    ),
    Operation(
        method="POST",
        path="/v1/dead-letters/{letter_id}/replay",
        handler=upkeep.replay_dead_letter,
        parameters=(
            Parameter(
                name="letter_id",
                place="path",
                description="The dead letter.",
                schema={"type": "string", "pattern": ID_PATTERN},
                required=True,
            ),
        ),
        answers={204: Answer(description="It is among the triggers again.", media_type=None)},
        problems=(404, 409, 422, 503),
    ),
    Operation(
        method="GET",
        path="/v1/webhooks",
        handler=webhooks.list_webhooks,
        answers={200: Answer(description="The webhooks.", model=WebhooksDocument)},
        problems=(422, 503),
    ),
    *(
        Operation(
            method="POST",
            path=f"/v1/webhooks/{{name}}/{verb}",
            handler=handler,
            parameters=(_WEBHOOK,),
            answers={200: Answer(description=description, model=model)},
            problems=(404, 422, 503),
        )
        for verb, handler, description, model in (
            ("pause", webhooks.pause_webhook, "It is stopped.", WebhookDocument),
            ("resume", webhooks.resume_webhook, "It goes on.", WebhookDocument),
            ("test", webhooks.try_webhook, "Whether the receiver took it.", TriedDocument),
        )
    ),
    Operation(
        method="POST",
        path="/v1/webhooks/{name}/redrive",
        handler=webhooks.redrive_webhook,
        parameters=(_WEBHOOK,),
        body=SendAgainDocument,
        answers={200: Answer(description="It goes on from there.", model=WebhookDocument)},
        problems=(404, 408, 413, 415, 422, 503),
    ),
    Operation(
        method="GET",
        path="/livez",
        handler=upkeep.livez,
        answers={200: Answer(description="The process works.", media_type=TEXT)},
        problems=(),
    ),
    Operation(
        method="GET",
        path="/readyz",
        handler=upkeep.readyz,
        answers={
            200: Answer(description="Everything that is needed answers.", model=ReadinessDocument),
            503: Answer(description="Something that is needed does not answer.", model=ReadinessDocument),
        },
        problems=(),
    ),
    Operation(
        method="GET",
        path="/metrics",
        handler=upkeep.metrics,
        answers={
            200: Answer(description="Prometheus' text format, or OpenMetrics when that is asked for.", media_type=TEXT)
        },
        problems=(),
    ),
    *ACCESS_OPERATIONS,
)
