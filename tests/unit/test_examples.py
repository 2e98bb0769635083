"""The example of a webhook receiver takes what the daemon signs, and nothing else."""

import runpy
from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient, TestServer

from orchestrator.events.webhooks.signatures import SIGNATURE_HEADER, signature

RECEIVER = Path(__file__).parents[2] / "docs" / "examples" / "webhook_receiver.py"
BODY = b'{"id": "1", "type": "membership.change.parked.v1", "data": {"state": "parked"}}'


async def test_the_receiver_checks_the_signature(capsys: pytest.CaptureFixture[str]) -> None:
    """A body with another signature, or none, is refused; one that comes twice is taken once."""
    make_app = runpy.run_path(str(RECEIVER), run_name="webhook_receiver")["make_app"]
    async with TestClient(TestServer(make_app(b"secret"))) as client:
        right = {SIGNATURE_HEADER: signature(b"secret", BODY)}
        for headers in ({}, {SIGNATURE_HEADER: signature(b"other", BODY)}):
            assert (await client.post("/", data=BODY, headers=headers)).status == 403
        for _ in range(2):
            assert (await client.post("/", data=BODY, headers=right)).status == 204
    assert capsys.readouterr().out == "membership.change.parked.v1 parked\n"
