"""The operations about callers: tokens, and a browser's session."""

from typing import Final

from orchestrator.api.documents.access import (
    MadeTokenDocument,
    SessionDocument,
    SignIn,
    TokenDocument,
    TokenPage,
    TokenRequest,
)
from orchestrator.api.inputs import DEFAULT_PAGE, MAX_PAGE
from orchestrator.api.operation import Answer, Operation, Parameter
from orchestrator.api.resources import audit_log, tokens
from orchestrator.api.resources.audit_log import AuditPage

ACCESS_OPERATIONS: Final = (
    Operation(
        method="GET",
        path="/v1/tokens",
        handler=tokens.list_tokens,
        answers={200: Answer(description="Tokens, the newest first.", model=TokenPage)},
        problems=(422, 503),
    ),
    Operation(
        method="POST",
        path="/v1/tokens",
        handler=tokens.create_token,
        body=TokenRequest,
        answers={201: Answer(description="The token, shown this once.", model=MadeTokenDocument)},
        problems=(408, 409, 413, 415, 422, 503),
    ),
    Operation(
        method="POST",
        path="/v1/tokens/{token_id}/revoke",
        handler=tokens.revoke_token,
        parameters=(
            Parameter(
                name="token_id",
                place="path",
                description="The token's id.",
                schema={"type": "string", "pattern": "^[0-9a-f]{16}$"},
                required=True,
            ),
        ),
        answers={200: Answer(description="It counts no more.", model=TokenDocument)},
        problems=(404, 409, 422, 503),
    ),
    Operation(
        method="GET",
        path="/v1/audit-log",
        handler=audit_log.list_audit_log,
        parameters=(
            Parameter(
                name="after",
                place="query",
                description="Only entries behind the one of this number; from the first on when left out.",
                schema={"type": "integer", "minimum": 0, "maximum": 2**53 - 1},
            ),
            Parameter(
                name="limit",
                place="query",
                description="At most so many.",
                schema={"type": "integer", "minimum": 1, "maximum": MAX_PAGE, "default": DEFAULT_PAGE},
            ),
        ),
        answers={200: Answer(description="Entries, in their order.", model=AuditPage)},
        problems=(422, 503),
    ),
    Operation(
        method="GET",
        path="/v1/session",
        handler=tokens.get_session,
        answers={200: Answer(description="Who the caller is.", model=SessionDocument)},
        problems=(422, 503),
    ),
    Operation(
        method="POST",
        path="/v1/session",
        handler=tokens.sign_in,
        body=SignIn,
        description="The cookie is HttpOnly and SameSite=Strict. A form with a field `token` does as well.",
        answers={200: Answer(description="The cookie is set.", model=SessionDocument)},
        problems=(401, 408, 409, 413, 415, 422, 503),
    ),
    Operation(
        method="DELETE",
        path="/v1/session",
        handler=tokens.sign_out,
        answers={204: Answer(description="The cookie is gone.", media_type=None)},
        problems=(422,),
    ),
)
