"""Receives status events as webhooks, and takes only those that were signed with the shared secret.

Usage: python webhook_receiver.py SECRET_FILE [PORT]; `[[webhooks]]` in the daemon's configuration names both.
"""

import hashlib
import hmac
import json
import sys
from pathlib import Path

from aiohttp import web

SECRET = web.AppKey("secret", bytes)
SEEN = web.AppKey("seen", dict[str, str])


async def receive(request: web.Request) -> web.Response:
    """Take an event once: it may come again, and only a 2xx answer ends that."""
    body = await request.read()
    expected = "sha256=" + hmac.new(request.app[SECRET], body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected.encode(), request.headers.get("X-Signature-256", "").encode()):
        return web.Response(status=403)
    event = json.loads(body)
    if event["id"] not in request.app[SEEN]:
        request.app[SEEN][event["id"]] = event["type"]
        print(event["type"], event["data"].get("state", ""), flush=True)
    return web.Response(status=204)


def make_app(secret: bytes) -> web.Application:
    """Return the receiver."""
    app = web.Application(client_max_size=1 << 20)
    app[SECRET], app[SEEN] = secret, {}
    app.router.add_post("/", receive)
    return app


if __name__ == "__main__":
    port = int(sys.argv[2]) if len(sys.argv) > 2 else 9000
    web.run_app(make_app(Path(sys.argv[1]).read_text().strip().encode()), host="127.0.0.1", port=port)
