"""``/v1/attention`` and ``/v1/nodes``: what needs a person, and how the nodes are."""

from datetime import datetime
from typing import Literal

from aiohttp import web
from pydantic import Field

from orchestrator.api.changes import SERVICES, json_response
from orchestrator.api.documents import Document
from orchestrator.api.overview_ports import Attention, NodeStanding
from orchestrator.api.reading import check_parameters
from orchestrator.membership.attention import Need


class NeedDocument(Document):
    """One thing that may need a person."""

    slug: str = Field(description="Stable name of the kind.")
    urgency: Literal["broken", "stuck", "waiting", "told"] = Field(
        description="broken: wrong until somebody acts; stuck: somebody has to decide; waiting: goes on by itself when "
        "something outside comes back; told: to be known."
    )
    what: str = Field(description="What happened.")
    remedy: str = Field(description="What to do; empty where nothing can be done.")
    since: datetime | None = Field(description="Since when; null where that isn't known.")
    change_id: str | None = Field(description="The change that it is about, if any.")
    privacy_group_id: str | None = Field(description="The group that it is about, if any.")
    node: str | None = Field(description="The node that it is about, if any.")
    commands: list[str] = Field(description="What to type, in this order.")


class AttentionDocument(Document):
    """What needs a person, the most urgent first."""

    at: datetime = Field(description="When that was looked at.")
    needs: list[NeedDocument]
    total: int = Field(description="How many there are; the list is bounded.")


class NodeDocument(Document):
    """How a configured node is now."""

    name: str
    enclave_keys: list[str] = Field(description="The keys that it hosts.")
    answers: bool = Field(description="Whether it answered just now.")
    trouble: str = Field(description="Why it did not, or why it isn't asked; empty when it did.")
    head: int | None = Field(description="Its newest block, as far as it was ever seen.")
    behind: int | None = Field(
        description="By how many blocks it is behind the newest head that two nodes confirm; negative: ahead."
    )
    subscribed: bool = Field(description="Whether its heads come by WebSocket.")
    milliseconds: float | None = Field(description="How long it took to tell its head.")
    besu_version: str = Field(description="Its version; empty while that isn't known.")
    validator: bool | None = Field(description="Whether it makes blocks; null when it can't be told.")
    notes: list[str] = Field(description="What is to be known of that version.")


class NodesDocument(Document):
    """The configured nodes."""

    nodes: list[NodeDocument]


async def list_needs(request: web.Request) -> web.Response:
    """List what needs a person, the most urgent first."""
    check_parameters(request, ())
    return json_response(_attention_document(await request.app[SERVICES].overview.attention()))


async def list_nodes(request: web.Request) -> web.Response:
    """List the configured nodes, and how each is now."""
    check_parameters(request, ())
    nodes = await request.app[SERVICES].overview.nodes()
    return json_response(NodesDocument(nodes=[_node_document(node) for node in nodes]))


def _attention_document(found: Attention) -> AttentionDocument:
    return AttentionDocument(at=found.at, needs=[_need_document(need) for need in found.needs], total=found.total)


def _need_document(need: Need) -> NeedDocument:
    return NeedDocument.model_validate(
        {
            "slug": need.slug,
            "urgency": need.urgency.name.lower(),
            "what": need.what,
            "remedy": need.remedy,
            "since": need.since,
            "change_id": need.change_id or None,
            "privacy_group_id": need.privacy_group_id or None,
            "node": need.node or None,
            "commands": list(need.commands),
        }
    )


def _node_document(node: NodeStanding) -> NodeDocument:
    fields = {name: getattr(node, name) for name in NodeDocument.model_fields}
    return NodeDocument.model_validate(fields | {"enclave_keys": list(node.enclave_keys), "notes": list(node.notes)})
