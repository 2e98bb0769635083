"""The page on which a person signs in: all that a browser without a token is shown. It works without scripts."""

import base64
import hashlib
from html import escape
from http import HTTPStatus
from importlib.resources import files
from typing import Final

from aiohttp import web

from orchestrator.api.callers.authentication import UnauthenticatedError
from orchestrator.api.problems import Handler

PAGES: Final = frozenset({"/", "/docs"})
"""Paths where a person may arrive."""

# Inside of the page and allowed by its hash: without a token no style sheet is served either.
_STYLE: Final = files("orchestrator.api").joinpath("pages", "style.css").read_text("utf-8")
_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_PAGE: Final = files("orchestrator.api").joinpath("pages", "sign_in.html").read_text("utf-8")


@web.middleware
async def sign_in_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Show a person who has not signed in where to."""
    try:
        return await handler(request)
    except UnauthenticatedError as error:
        if not _wants_page(request):
            raise
        return sign_in_page(error)


def _wants_page(request: web.Request) -> bool:
    """Return whether a request comes from a browser that shows a page to a person."""
    return request.method == "GET" and request.path in PAGES and "text/html" in request.headers.get("Accept", "")


def sign_in_page(error: UnauthenticatedError) -> web.Response:
    """Return the page, which says what was wrong with the token that was tried."""
    said = error.detail if "invalid_token" in error.headers["WWW-Authenticate"] else ""
    text = _PAGE.replace("{style}", _STYLE).replace("{said}", escape(said))
    headers = {
        **error.headers,
        "Content-Security-Policy": (
            f"default-src 'none'; style-src 'sha256-{_HASH}'; img-src data:; base-uri 'none'; form-action 'self'; "
            "frame-ancestors 'none'"
        ),
        # With `no-referrer` a form's Origin is `null`, which could come from anywhere.
        "Referrer-Policy": "same-origin",
    }
    return web.Response(
        text=text, status=HTTPStatus.UNAUTHORIZED, headers=headers, content_type="text/html", charset="utf-8"
    )
