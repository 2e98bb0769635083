"""Endpoints for those who run the daemon: alive, ready, metrics, and the messages that could not be accepted."""

from http import HTTPStatus

from aiohttp import web
from prometheus_client.exposition import choose_encoder

from orchestrator.api.callers.authentication import AUTHENTICATION
from orchestrator.api.documents.shared import dead_letter_page, readiness_document
from orchestrator.api.inputs import check_parameters, page_size
from orchestrator.api.problems import ProblemError
from orchestrator.api.resources.changes import SERVICES, json_response
from orchestrator.engine.ports.queues import UnfitMessageError
from orchestrator.engine.ports.store import StoreError


async def livez(_request: web.Request) -> web.Response:
    """Answer as long as the process works at all; parameters that others' probes send mean nothing."""
    return web.Response(text="ok\n")


async def readyz(request: web.Request) -> web.Response:
    """Tell whether everything that is needed answers: 200 or 503."""
    document = readiness_document(await request.app[SERVICES].readiness.checks())
    try:
        # The route is open to probes, which show nothing: here it only decides how much is told.
        await request.app[AUTHENTICATION].caller(request)
    except (ProblemError, StoreError):
        # Whoever only probes learns whether, and nothing of nodes, store and queue.
        document = document.model_copy(update={"checks": []})
    return json_response(document, HTTPStatus.OK if document.ready else HTTPStatus.SERVICE_UNAVAILABLE)


async def metrics(request: web.Request) -> web.Response:
    """Show the metrics in the text format that is asked for: Prometheus' own, or OpenMetrics."""
    try:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    except TypeError:  # the library compares a version that is none with numbers
        encode, content_type = choose_encoder("")
    return web.Response(body=encode(request.app[SERVICES].metrics), headers={"Content-Type": content_type})


async def list_dead_letters(request: web.Request) -> web.Response:
    """List the oldest messages that could not be accepted."""
    check_parameters(request, ("limit",))
    letters = await request.app[SERVICES].dead_letters.dead_letters(page_size(request))
    return json_response(dead_letter_page(letters))


async def replay_dead_letter(request: web.Request) -> web.Response:
    """Put a dead letter back among the triggers."""
    check_parameters(request, ())
    letter_id = request.match_info["letter_id"][:256]
    try:
        await request.app[SERVICES].dead_letters.replay(letter_id)
    except KeyError:
        detail = f"There is no dead letter {letter_id}; it may have been replayed already."
        raise ProblemError(HTTPStatus.NOT_FOUND, "unknown-dead-letter", detail, "letter_id") from None
    except UnfitMessageError as error:
        raise ProblemError(HTTPStatus.CONFLICT, "impossible-now", str(error), "letter_id") from error
    return web.Response(status=HTTPStatus.NO_CONTENT)
