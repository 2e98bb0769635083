"""Whence an API is talked to: by programs, and by pages that it served itself.

A web page from elsewhere could reach a server on loopback through the visitor's browser, by a name that it makes
resolve to 127.0.0.1 (DNS rebinding), which counts where nobody has to prove who it is, or by sending forms. Both show:
the first by its ``Host``, the second by its ``Origin`` or ``Sec-Fetch-Site``.
"""

import ipaddress
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web

from orchestrator.api.callers.authentication import AUTHENTICATION
from orchestrator.api.problems import Handler, ProblemError

ORIGINS = web.AppKey("origins", tuple[str, ...])
"""Origins besides our own whose pages may use the API: those of a proxy that stands before it, lower case."""

_SAFE_SITES: Final = frozenset({"same-origin", "none"})

SECURITY_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


@web.middleware
async def access_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse requests that name another host than loopback, or that a page from elsewhere sent."""
    origins = request.app[ORIGINS]
    # The library would take the socket's own address for it, which is a loopback one.
    if "Host" not in request.headers:
        raise ProblemError(HTTPStatus.BAD_REQUEST, "no-host", "Each request needs a Host header.", "Host")
    # A name that was made to lead here brings a browser, but no token with it.
    open_to_all = not request.app[AUTHENTICATION].rules.required
    if (
        open_to_all
        and not is_loopback_host(request.host)
        and request.host.lower() not in {urlsplit(one).netloc for one in origins}
    ):
        raise ProblemError(
            HTTPStatus.MISDIRECTED_REQUEST,
            "foreign-host",
            "The Host header names no loopback address; use http://127.0.0.1 or http://localhost with the API's port, "
            "or name the proxy's address in api.origins.",
            "Host",
        )
    origin = request.headers.get("Origin")
    if origin is not None and origin.lower() not in (f"{request.scheme}://{request.host}".lower(), *origins):
        raise ProblemError(
            HTTPStatus.FORBIDDEN,
            "foreign-origin",
            "Pages of other origins may not use the API; that of a proxy's pages is named in api.origins.",
            "Origin",
        )
    site = request.headers.get("Sec-Fetch-Site", "none").lower()
    # Following a link to a page of ours is no use of the API: it only shows the page.
    navigation = request.method == "GET" and request.headers.get("Sec-Fetch-Mode") == "navigate"
    if site not in _SAFE_SITES and not navigation:
        raise ProblemError(
            HTTPStatus.FORBIDDEN, "foreign-origin", "Pages of other sites may not use the API.", "Sec-Fetch-Site"
        )
    return await handler(request)


async def add_security_headers(_request: web.Request, response: web.StreamResponse) -> None:
    """Forbid browsers to run, embed or remember anything that the daemon did not mean."""
    for name, value in SECURITY_HEADERS.items():
        # The page to sign in on has a policy of its own, since its form has to be sent.
        response.headers.setdefault(name, value)
    response.headers.setdefault("Cache-Control", "no-store")


def is_loopback_host(host: str) -> bool:
    """Return whether a Host header names loopback, with any port."""
    try:
        name = urlsplit(f"//{host}").hostname
    except ValueError:
        return False
    # A host that is written as a user's name, as in `elsewhere.example@127.0.0.1`, is no spelling of loopback.
    if name is None or "@" in host:
        return False
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
