"""``/v1/attention`` and ``/v1/nodes``: what needs a person, and how the nodes are."""

from aiohttp import web

from orchestrator.api.callers.authentication import caller_of_request
from orchestrator.api.documents.overview import AttentionDocument, NeedDocument, NodeDocument, NodesDocument
from orchestrator.api.inputs import check_parameters
from orchestrator.api.ports.overview import Attention, NodeStanding
from orchestrator.api.resources.changes import SERVICES, json_response
from orchestrator.membership.news.attention import Need


async def list_needs(request: web.Request) -> web.Response:
    """List what needs a person, the most urgent first."""
    check_parameters(request, ())
    found = await request.app[SERVICES].overview.attention(caller_of_request(request).scope.groups)
    return json_response(_attention_document(found))


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
