"""The HTTP application: routes from the table of operations, documents, pages, and what guards them."""

import asyncio
import json
from collections.abc import Callable
from functools import partial
from importlib.resources import files
from pathlib import PurePath
from typing import Any, Final

from aiohttp import web

from orchestrator.access.table import route_rule
from orchestrator.api.callers.authentication import AUTHENTICATION, Authentication, authentication_middleware
from orchestrator.api.callers.origins import ORIGINS, access_middleware, add_security_headers
from orchestrator.api.callers.sign_in import sign_in_middleware
from orchestrator.api.change_texts import CHANGE_TEXTS, ChangeTexts
from orchestrator.api.openapi import openapi_document
from orchestrator.api.operations import OPERATIONS
from orchestrator.api.ports.changes import ApiServices
from orchestrator.api.problems import problem_middleware
from orchestrator.api.resources.changes import SERVICES
from orchestrator.api.resources.stream import STREAMS, Streams, end_streams
from orchestrator.api.web.conditional import WAITING, Waiting, conditional_middleware
from orchestrator.api.web.connections import connection_middleware
from orchestrator.engine.intake.requests import MAX_BODY_BYTES

_PAGES: Final = {"/": "dashboard.html", "/docs": "docs.html"}
_MEDIA_TYPES: Final = {".js": "text/javascript", ".css": "text/css"}


def make_api(services: ApiServices, authentication: Authentication) -> web.Application:
    """Return the application; where callers need not prove who they are, run it on a loopback address only.

    Args:
        services: The parts of the daemon that it talks to.
        authentication: Tells who sends a request.
    """
    app = web.Application(
        # The outermost first. Whatever comes of a request, its connection's timer is stopped and started; what any of
        # the others raises becomes a problem document, or the page to sign in on; origins are compared before a cookie
        # proves anything.
        middlewares=[
            connection_middleware,
            problem_middleware,
            access_middleware,
            sign_in_middleware,
            authentication_middleware,
            conditional_middleware,
        ],
        client_max_size=MAX_BODY_BYTES,
    )
    app[AUTHENTICATION] = authentication
    app[SERVICES] = services
    app[CHANGE_TEXTS] = ChangeTexts(services.changes)
    app[STREAMS] = Streams()
    app[WAITING] = Waiting()
    app[ORIGINS] = services.origins
    for operation in OPERATIONS:
        app.router.add_route(operation.method, operation.path, operation.handler)
        # `add_route` adds no HEAD by itself, as `add_get` does.
        if operation.method == "GET":
            app.router.add_route("HEAD", operation.path, operation.handler)
    own = {"/openapi.json": partial(openapi_document, access_control=authentication.rules.required)}
    for path, document in (own | dict(services.documents)).items():
        _add_document(app, path, document)
    pages = files("orchestrator.api").joinpath("pages")
    for path, name in _PAGES.items():
        _add_text(app, path, pages.joinpath(name).read_text("utf-8"), "text/html")
    # Read now, and served by their names alone: no path of a request is ever looked up among files.
    for file in pages.iterdir():
        media_type = _MEDIA_TYPES.get(PurePath(file.name).suffix)
        if media_type is not None:
            _add_text(app, f"/static/{file.name}", file.read_text("utf-8"), media_type)
    for route in app.router.routes():
        route_rule(route.method, _path_of(route))  # one that was forgotten in the table is not served
    app.on_response_prepare.append(add_security_headers)
    # The library calls this before it waits for handlers, and a stream has no end of its own.
    app.on_shutdown.append(end_streams)
    return app


def _path_of(route: web.AbstractRoute) -> str:
    return "" if route.resource is None else route.resource.canonical


def _add_document(app: web.Application, path: str, document: Callable[[], dict[str, Any]]) -> None:
    """Serve a description that takes most of a second to make: when it is first asked for, and on a thread."""
    made: list[str] = []
    making = asyncio.Lock()

    async def answer(_request: web.Request) -> web.Response:
        async with making:
            if not made:
                made.append(await asyncio.to_thread(lambda: json.dumps(document())))
        return web.Response(text=made[0], content_type="application/json", charset="utf-8")

    app.router.add_get(path, answer)


def _add_text(app: web.Application, path: str, text: str, media_type: str) -> None:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(text=text, content_type=media_type, charset="utf-8")

    app.router.add_get(path, answer)
