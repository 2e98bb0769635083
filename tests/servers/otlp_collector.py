"""A collector of traces that takes OTLP over HTTP, and can be slow or away."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

_MEDIA_TYPE: Final = "application/x-protobuf"


@dataclass(frozen=True, slots=True)
class Received:
    """One span as it came.

    Attributes:
        trace_id, span_id, parent_id: Hexadecimal; the parent's empty for none.
        name: What it is.
        start, end: Nanoseconds since 1970.
        attributes: Name → value.
        failed: What its status says; empty when it did not fail.
        service: What the resource says of the sender.
    """

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    start: int
    end: int
    attributes: dict[str, Any]
    failed: str
    service: str


@dataclass
class Collector:
    """The collector.

    Attributes:
        url: Where it listens.
        spans: What came, in order.
        headers: Of the newest request.
        bodies: The requests' bytes.
        hold: Requests are answered while this is set.
        status: What they are answered.
    """

    url: str = ""
    spans: list[Received] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    bodies: list[bytes] = field(default_factory=list)
    hold: asyncio.Event = field(default_factory=asyncio.Event)
    status: int = 200

    def by_id(self) -> dict[str, Received]:
        """Return the spans by their ids; one that came twice came with the same words."""
        found: dict[str, Received] = {}
        for span in self.spans:
            assert found.setdefault(span.span_id, span) == span
        return found

    async def take(self, request: web.Request) -> web.Response:
        """Take what is sent."""
        await self.hold.wait()
        assert request.content_type == _MEDIA_TYPE
        body = await request.read()
        if self.status == 200:
            self.bodies.append(body)
            self.headers = {name.lower(): value for name, value in request.headers.items()}
            self._read(ExportTraceServiceRequest.FromString(body))
        answer = ExportTraceServiceResponse().SerializeToString()
        return web.Response(body=answer, status=self.status, content_type=_MEDIA_TYPE)

    def _read(self, asked: ExportTraceServiceRequest) -> None:
        for of_resource in asked.resource_spans:
            resource = {pair.key: pair.value.string_value for pair in of_resource.resource.attributes}
            for scope in of_resource.scope_spans:
                self.spans += [
                    Received(
                        trace_id=span.trace_id.hex(),
                        span_id=span.span_id.hex(),
                        parent_id=span.parent_span_id.hex(),
                        name=span.name,
                        start=span.start_time_unix_nano,
                        end=span.end_time_unix_nano,
                        attributes={
                            pair.key: getattr(pair.value, pair.value.WhichOneof("value") or "string_value")
                            for pair in span.attributes
                        },
                        failed=span.status.message if span.status.code == 2 else "",
                        service=resource["service.name"],
                    )
                    for span in scope.spans
                ]


@asynccontextmanager
async def collecting() -> AsyncIterator[Collector]:
    """Run a collector while the context lasts."""
    collector = Collector()
    collector.hold.set()
    app = web.Application()
    app.router.add_post("/v1/traces", collector.take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        collector.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1/traces"
        yield collector
    finally:
        collector.hold.set()
        await runner.cleanup()
