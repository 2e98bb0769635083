"""A daemon of a later version, as far as its answers go: every object in them has one more field."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

from tests.patience import patient

SECONDS = 20
FIELD = "of_a_later_version"


@contextmanager
def later_daemon(url: str, **words: str) -> Iterator[str]:
    """Stand in front of a daemon; yields the address.

    Args:
        url: The daemon's.
        words: What fields say instead of what they said, by the fields' names.
    """
    behind = urlsplit(url)
    assert behind.hostname is not None

    class Front(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._pass()

        def do_POST(self) -> None:
            self._pass()

        def _pass(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {
                name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection")
            }
            connection = HTTPConnection(behind.hostname or "", behind.port, timeout=patient(SECONDS))
            connection.request(self.command, self.path, body, headers)
            answer = connection.getresponse()
            told = json.dumps(_later(json.loads(answer.read()), words)).encode()
            connection.close()
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.headers["Content-Type"])
            self.send_header("Content-Length", str(len(told)))
            self.end_headers()
            self.wfile.write(told)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Front)
    Thread(target=server.serve_forever).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def _later(document: Any, words: Mapping[str, str]) -> Any:
    if isinstance(document, dict):
        told = {name: _later(words.get(name, value), words) for name, value in document.items()}
        return told | {FIELD: {"and": ["so", "on"]}}
    return [_later(value, words) for value in document] if isinstance(document, list) else document
