"""``/v1/audit-log``: who asked for what, and what of it was refused."""

from datetime import datetime

from aiohttp import web
from pydantic import Field

from orchestrator.access.audit import Action, AuditEntry, ChainedEntry, Outcome
from orchestrator.access.callers import Door
from orchestrator.api.documents.shared import Document
from orchestrator.api.inputs import check_parameters, number, page_size
from orchestrator.api.resources.changes import SERVICES, json_response
from orchestrator.instants import micros, moment

# Beyond it JavaScript's numbers are not exact.
MOST_NUMBER = 2**53 - 1


class AuditDocument(Document):
    """One entry of the audit log."""

    number: int = Field(description="Its place, from 1 on without a gap.")
    at: datetime
    caller: str = Field(description="Who asked, as was proven; empty where nobody asks for a proof.")
    door: Door
    action: Action
    outcome: Outcome
    about: str = Field(description="The kind of change, or the route, token, letter or name.")
    privacy_group_id: str
    change_id: str
    request_id: str
    source: str = Field(description="Who asked, as the request says.")
    reason: str = Field(description="Why, in the caller's words; or why it was refused.")
    previous_hash: str = Field(description="The hash of the entry before; 64 zeros for the first.")
    entry_hash: str = Field(description="SHA-256 of the entry and the hash before it (docs/security.md).")


class AuditPage(Document):
    """Entries of the audit log, in their order."""

    entries: list[AuditDocument]


_SAID = (
    "caller",
    "door",
    "action",
    "outcome",
    "about",
    "privacy_group_id",
    "change_id",
    "request_id",
    "source",
    "reason",
)


async def list_audit_log(request: web.Request) -> web.Response:
    """List entries of the audit log, in their order."""
    check_parameters(request, ("after", "limit"))
    after = number(request, "after", 0, MOST_NUMBER)
    found = await request.app[SERVICES].audit.behind(after, page_size(request))
    return json_response(AuditPage(entries=[audit_document(entry) for entry in found]))


def audit_document(found: ChainedEntry) -> AuditDocument:
    """Return an entry as the API shows it."""
    said = {name: getattr(found.entry, name) for name in _SAID}
    return AuditDocument(
        number=found.number,
        at=moment(found.entry.at),
        previous_hash=found.previous_hash,
        entry_hash=found.entry_hash,
        **said,
    )


def entry_of(document: AuditDocument) -> ChainedEntry:
    """Return the entry that is shown as a document, for whoever verifies it."""
    said = {name: getattr(document, name) for name in _SAID}
    return ChainedEntry(
        number=document.number,
        entry=AuditEntry(at=micros(document.at), **said),
        previous_hash=document.previous_hash,
        entry_hash=document.entry_hash,
    )
