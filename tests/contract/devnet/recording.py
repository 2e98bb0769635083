"""Reading recorded exchanges, and working out which block each private transaction was mined in."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SENDING = frozenset({"eea_sendRawTransaction", "eth_sendRawTransaction"})


@dataclass(frozen=True, slots=True)
class Exchange:
    """One recorded exchange.

    Attributes:
        line: place in the file, from 1.
        step: what the scenario was doing.
        node: from 1; None where the recording does not say.
        transport: "http", "ws" or "http-raw".
        method, params: of the request; None for frames that the node sent by itself and for raw bodies.
        response: the response object; None for a body without an answer.
        http_status: None over WebSocket.
        body: raw HTTP body.
        tenant: whose token was sent; "" without multi-tenancy, None for no token.
        cut_text: the beginning of the answer, where only that was recorded; ``response`` is then None.
    """

    line: int
    step: str
    node: int | None
    transport: str
    method: str | None
    params: list[Any]
    response: Any
    http_status: int | None
    body: str | None
    tenant: str | None
    cut_text: str | None

    @property
    def result(self) -> Any:
        """The result; None when it was an error."""
        return self.response.get("result") if isinstance(self.response, dict) else None


@dataclass(frozen=True, slots=True)
class Recording:
    """One file of exchanges.

    Attributes:
        name: the file's, without ending.
        besu: the version.
        exchanges: in order.
        mined_in: block number of each public transaction whose receipt was seen, by recorded hash.
    """

    name: str
    besu: str
    exchanges: tuple[Exchange, ...]
    mined_in: dict[str, int]

    @property
    def has_own_markers(self) -> bool:
        """Whether markers were signed by the scenario, which ran on several networks of four nodes."""
        return any(exchange.method == "eth_sendRawTransaction" and exchange.result for exchange in self.exchanges)


def read_recording(path: Path) -> Recording:
    """Read a file of exchanges."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    exchanges = tuple(_exchange(line, row) for line, row in enumerate(rows, start=1))
    mined_in = {
        exchange.params[0]: int(exchange.result["blockNumber"], 16)
        for exchange in exchanges
        if exchange.method == "eth_getTransactionReceipt" and exchange.result is not None
    }
    return Recording(path.stem, rows[0]["besu"], exchanges, mined_in)


def _exchange(line: int, row: dict[str, Any]) -> Exchange:
    request = row.get("request") or {}
    response = row.get("response")
    cut_text = None
    if response is None and row.get("text"):
        try:
            response = json.loads(row["text"])
        except json.JSONDecodeError:
            cut_text = row["text"]
    return Exchange(
        line=line,
        step=row["step"],
        node=row.get("node"),
        transport=row.get("transport", "http"),
        method=request.get("method"),
        params=request.get("params") or [],
        response=response,
        http_status=row.get("http_status"),
        body=row.get("body"),
        tenant=row.get("tenant", ""),
        cut_text=cut_text,
    )


def first_head(recording: Recording) -> int:
    """The head that the network had when the recording began, or a head that fits it."""
    for exchange in recording.exchanges:
        if exchange.method == "eth_blockNumber" and exchange.result is not None:
            return int(exchange.result, 16)
        if exchange.method in SENDING and exchange.result in recording.mined_in:
            return recording.mined_in[exchange.result] - 1
    return 0


def needed_head(recording: Recording, exchange: Exchange) -> int:
    """The head that the network must have had for an answer: 0 when the answer does not tell."""
    result = exchange.result
    if exchange.method in SENDING and isinstance(result, str):
        # The transaction waits for the block that it was mined in, so the one before is the head.
        return recording.mined_in.get(result, 1) - 1
    if exchange.method == "eth_blockNumber" and isinstance(result, str):
        return int(result, 16)
    if exchange.transport == "http-raw" and isinstance(result, str) and "eth_blockNumber" in (exchange.body or ""):
        return int(result, 16)
    if exchange.method is None and exchange.transport == "ws" and isinstance(exchange.response, dict):
        pushed = exchange.response.get("params", {}).get("result")
        if isinstance(pushed, str):
            return recording.mined_in.get(pushed, 0)
        if isinstance(pushed, dict):
            return int(pushed.get("number") or pushed.get("blockNumber") or "0x0", 16)
    if exchange.method == "priv_debugGetStateRoot" and isinstance(result, str) and exchange.params[1][:2] == "0x":
        return int(exchange.params[1], 16)
    if isinstance(result, dict) and isinstance(result.get("blockNumber"), str):
        return int(result["blockNumber"], 16)
    return 0
