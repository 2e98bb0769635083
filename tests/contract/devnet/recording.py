"""Reading recorded exchanges, and working out which block each private transaction was mined in."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BLOCKS = frozenset({"eth_getBlockByNumber", "eth_getBlockByHash"})
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
        event: what was done to an enclave instead of an exchange.
        elapsed_seconds: what the answer took; 0 where that was not recorded.
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
    event: str | None = None
    elapsed_seconds: float = 0.0

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
        enclave: the kind of the nodes' enclaves.
        exchanges: in order.
        mined_in: block number of each public transaction whose receipt was seen, by recorded hash.
    """

    name: str
    besu: str
    exchanges: tuple[Exchange, ...]
    mined_in: dict[str, int]
    enclave: str = "orion"

    @property
    def has_own_markers(self) -> bool:
        """Whether markers were signed by the scenario, which ran on several networks of four nodes."""
        return any(exchange.method == "eth_sendRawTransaction" and exchange.result for exchange in self.exchanges)

    @property
    def apis(self) -> tuple[str, ...]:
        """The APIs that the nodes enabled; none where the recording does not tell."""
        listed = next((exchange.result for exchange in self.exchanges if exchange.method == "rpc_modules"), None)
        return tuple(listed or ())

    @property
    def base_fee(self) -> bool:
        """Whether the network has a base fee, as far as blocks were read over HTTP."""
        blocks = [e.result for e in self.exchanges if e.method in BLOCKS and isinstance(e.result, dict)]
        return not blocks or any("baseFeePerGas" in block for block in blocks)

    def told_of(self, exchange: Exchange) -> Any:
        """An answer without the groups that were made before the recording began."""
        if not self.has_events or not (exchange.method or "").startswith("privx_find"):
            return exchange.response
        groups = {e.params[1] for e in self.exchanges if e.method == "priv_getTransactionCount"}
        known = [group for group in exchange.result if group["privacyGroupId"] in groups]
        known.sort(key=lambda group: str(group["privacyGroupId"]))
        return {**exchange.response, "result": known}

    @property
    def has_events(self) -> bool:
        """Whether enclaves were made to fail."""
        return any(exchange.event is not None for exchange in self.exchanges)


def read_recording(path: Path) -> Recording:
    """Read a file of exchanges."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    exchanges = tuple(_exchange(line, row) for line, row in enumerate(rows, start=1))
    mined_in = {
        exchange.params[0]: int(exchange.result["blockNumber"], 16)
        for exchange in exchanges
        if exchange.method == "eth_getTransactionReceipt" and exchange.result is not None
    }
    kind = rows[0].get("enclave", "orion").partition("-")[0]
    return Recording(path.stem, rows[0]["besu"], exchanges, mined_in, kind)


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
        event=row.get("event"),
        elapsed_seconds=(row.get("elapsed_ms") or 0.0) / 1000,
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
