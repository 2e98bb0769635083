"""``/v1/tokens`` and ``/v1/session``: tokens of callers, and a browser's way to use one."""

import secrets
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Final, TypeVar
from urllib.parse import parse_qs

from aiohttp import web
from pydantic import BaseModel, ValidationError

from orchestrator.access.audit import Action, entry_by
from orchestrator.access.callers import Door, scope_of
from orchestrator.access.tokens import ID_BYTES, SECRET_BYTES, TokenRecord, hash_of, split_token, token_text
from orchestrator.api.callers.authentication import AUTHENTICATION, COOKIE, UnauthenticatedError, caller_of_request
from orchestrator.api.callers.sign_in import sign_in_page
from orchestrator.api.documents.access import (
    SignIn,
    TokenPage,
    TokenRequest,
    made_token_document,
    session_document,
    token_document,
)
from orchestrator.api.inputs import body_of, check_parameters, json_body
from orchestrator.api.problems import ProblemError
from orchestrator.api.resources.changes import SERVICES, json_response
from orchestrator.engine.intake.requests import InvalidRequestError
from orchestrator.instants import micros
from orchestrator.outside_text import presentable

Model = TypeVar("Model", bound=BaseModel)

FORM: Final = "application/x-www-form-urlencoded"
MOST_FIELDS: Final = 16


def about_token(record: TokenRecord) -> str:
    """Return what the audit log says of a token."""
    return f"{record.token_id} {record.name} {record.role.value}"


def new_token(wanted: TokenRequest, created_by: str, now: datetime) -> tuple[TokenRecord, str]:
    """Return what is kept of a new token, and the token, which is not."""
    token = token_text(secrets.token_bytes(ID_BYTES), secrets.token_bytes(SECRET_BYTES))
    parts = split_token(token)
    if parts is None:
        raise AssertionError("a token that was just made is one")
    record = TokenRecord(
        token_id=parts[0],
        name=wanted.name,
        role=wanted.role,
        scope=scope_of(wanted.groups, wanted.accounts, wanted.kinds),
        secret_hash=hash_of(parts[1]),
        created_at=now,
        created_by=created_by,
        expires_at=now + timedelta(days=wanted.days),
    )
    return record, token


async def list_tokens(request: web.Request) -> web.Response:
    """List tokens, the newest first; what is shown of one is no secret."""
    check_parameters(request, ())
    found = await request.app[SERVICES].tokens.newest()
    return json_response(TokenPage(tokens=[token_document(record) for record in found]))


async def create_token(request: web.Request) -> web.Response:
    """Make a token; it is shown this once."""
    check_parameters(request, ())
    _require_access_control(request)
    wanted = _read(TokenRequest, await json_body(request))
    services = request.app[SERVICES]
    record, token = new_token(wanted, caller_of_request(request).name, services.now())
    entry = entry_by(
        caller_of_request(request), Action.CREATE_TOKEN, micros(record.created_at), about=about_token(record)
    )
    await services.tokens.add(record, entry)
    return json_response(made_token_document(record, token), HTTPStatus.CREATED)


async def revoke_token(request: web.Request) -> web.Response:
    """Let a token count no more."""
    check_parameters(request, ())
    _require_access_control(request)
    services = request.app[SERVICES]
    token_id = request.match_info["token_id"][:64]
    now = services.now()
    entry = entry_by(caller_of_request(request), Action.REVOKE_TOKEN, micros(now), about=presentable(token_id))
    found = await services.tokens.revoke(token_id, now, entry)
    if found is None:
        detail = f"There is no token {token_id}; GET /v1/tokens lists them."
        raise ProblemError(HTTPStatus.NOT_FOUND, "unknown-token", detail, "token_id")
    request.app[AUTHENTICATION].forget(token_id)
    return json_response(token_document(found))


async def get_session(request: web.Request) -> web.Response:
    """Tell who the caller is, and what it may do."""
    check_parameters(request, ())
    return json_response(session_document(caller_of_request(request)))


async def sign_in(request: web.Request) -> web.Response:
    """Keep a token in a cookie that pages can't read, for a browser."""
    check_parameters(request, ())
    by_form = request.content_type == FORM
    token = (await _token_of_form(request)) if by_form else _read(SignIn, await json_body(request)).token
    authentication = request.app[AUTHENTICATION]
    if not authentication.rules.required:
        detail = "There is no access control: nobody has to sign in."
        raise ProblemError(HTTPStatus.CONFLICT, "access-off", detail)
    try:
        caller = await authentication.bearer(token, Door.HTTP)
    except UnauthenticatedError as error:
        if by_form:
            return sign_in_page(error)
        raise
    response = json_response(session_document(caller))
    if by_form:
        # A page that is loaded again after this sends the form, and the token in it, no second time.
        response = web.Response(status=HTTPStatus.SEE_OTHER, headers={"Location": "/"})
    # Behind a proxy that ends TLS the daemon is asked in plain text; the page's origin says how the browser sees it.
    encrypted = request.secure or request.headers.get("Origin", "").lower().startswith("https://")
    response.set_cookie(COOKIE, token, path="/", httponly=True, samesite="Strict", secure=encrypted)
    return response


async def sign_out(request: web.Request) -> web.Response:
    """Have a browser forget its token."""
    check_parameters(request, ())
    response = web.Response(status=HTTPStatus.NO_CONTENT)
    response.del_cookie(COOKIE, path="/", httponly=True, samesite="Strict")
    return response


def _require_access_control(request: web.Request) -> None:
    """Refuse to let whoever is there now make what counts when there is access control."""
    if not request.app[AUTHENTICATION].rules.required:
        detail = "There is no access control here: make tokens beside the store, `orchestrator tokens create --local`."
        raise ProblemError(HTTPStatus.CONFLICT, "access-off", detail)


async def _token_of_form(request: web.Request) -> str:
    # Browsers send forms of our page in UTF-8. The library would decode one in whatever character set it names, by
    # anybody who has no token yet: some take a quarter of a minute for 256 KiB, on the event loop.
    try:
        form = parse_qs((await body_of(request)).decode(), keep_blank_values=True, max_num_fields=MOST_FIELDS)
    except ValueError:
        raise InvalidRequestError("body", f"is no form in UTF-8 of at most {MOST_FIELDS} fields") from None
    return _read(SignIn, {"token": form.get("token", [""])[0]}).token


def _read(model: type[Model], body: object) -> Model:
    try:
        return model.model_validate(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(map(str, first["loc"])) or "body"
        raise InvalidRequestError(place, first["msg"].removeprefix("Value error, ")) from None
