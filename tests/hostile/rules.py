"""A node that lies by rules: one method's answers, or one kind of notification, are wrong in one way, now and then.

Habits (`lying_proxy`) disturb everything a little, so that most of what comes is refused at once. A rule leaves all
else honest: what it changes is believed as far as it can be.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from random import Random
from typing import Any, Final

from tests.hostile.lying_node import HOSTILE_TEXTS, HOSTILE_VALUES
from tests.hostile.lying_proxy import SENDING, LyingProxy

Json = Any
Path = tuple[str | int, ...]

TELLING: Final = (
    "priv_call",
    "priv_debugGetStateRoot",
    "priv_getTransactionReceipt",
    "priv_getLogs",
    "priv_distributeRawTransaction",
    "privx_findFlexiblePrivacyGroup",
    "eth_getBlockByNumber",
    "eth_getTransactionReceipt",
    "eth_getTransactionCount",
    "eth_blockNumber",
)
"""What a daemon decides by: half of the rules are for these."""
OTHERS: Final = (
    "eth_chainId",
    "web3_clientVersion",
    "eth_syncing",
    "net_peerCount",
    "net_enode",
    "priv_getCode",
    "priv_getTransactionCount",
    "priv_getPrivateTransaction",
    "priv_getPrivacyPrecompileAddress",
    "eth_sendRawTransaction",
    "eth_getTransactionByHash",
    "eth_gasPrice",
    "eth_getBalance",
    "ibft_getValidatorsByBlockNumber",
    "txpool_besuTransactions",
    "*",
)
VALUES: Final = (
    *HOSTILE_TEXTS,
    *HOSTILE_VALUES,
    "0x0",
    "0x1",
    "0x" + "0" * 64,
    "0x" + "5a" * 32,
    ["0x" + "5a" * 32] * 3000,
    "0x08c379a0" + "0" * 62 + "20" + "f" * 64,
)
ERRORS: Final = (
    (-32000, "Wrong chainId"),
    (-32000, "Known transaction"),
    (-32000, "Replacement transaction underpriced"),
    (-32000, "Execution reverted: Origin not the owner."),
    (-32001, "Nonce too low"),
    (-32004, "Upfront cost exceeds account balance"),
    (-32005, "Number of requests exceeds max batch size"),
    (-32009, "Gas price below configured minimum gas price"),
    (-32602, "Invalid params"),
    (-32604, "Method not enabled"),
    (-40100, "Unauthorized"),
    (-50100, "Flexible Privacy group does not exist"),
    (-50100, "Error communicating with enclave"),
    (-50100, "Unable to decode the private signed raw transaction"),
    (-50100, "Private transaction failed"),
    (-50200, "EnclaveNoMatchingPrivateKey"),
    (-50200, "NodeMissingPeerUrl"),
    (-50200, "Recipient not found for key: "),
)
NUMBER_STEPS: Final = (1, -1, 2, 5, 64, 300, -300, 10**6, 1 << 53)


class Rule:
    """One way to lie.

    Args:
        seed: Of what it changes, how, and when.

    Attributes:
        method: Whose answers; "*" for all.
        kind: How: "value" and "field" put something else in place of all or a part, "near" something like it, "earlier"
            and "first" what was said before, "error" an error of Besu's, "notified" forged heads.
        share: How often.
    """

    def __init__(self, seed: int) -> None:
        self._random = random = Random(seed)  # noqa: S311 - a plan that can be repeated
        self.method = random.choice(random.choice((TELLING, OTHERS)))
        self.kind = random.choices(
            ("value", "field", "near", "earlier", "first", "error", "notified"), (10, 20, 30, 8, 6, 10, 8)
        )[0]
        self.share = random.choice((1.0, 1.0, 0.5, 0.1))
        self._value = random.choice(VALUES)
        self._error = random.choice(ERRORS)
        self._heads = random.choice(HEADS)
        self._places: dict[str, Path] = {}
        self._said: dict[str, list[Json]] = defaultdict(list)

    def __repr__(self) -> str:
        what = {"error": self._error, "notified": self._heads.__name__}.get(self.kind, str(self._value)[:20])
        return f"{self.kind} {self.method} {what!a} {self.share} {self._places}"

    def concerns(self, method: str) -> bool:
        """Whether it is about a call."""
        return self.kind != "notified" and self.method in ("*", method)

    def answer(self, method: str, answer: dict[str, Json]) -> dict[str, Json]:
        """Return what is said instead of a node's answer."""
        if self._random.random() > self.share:
            return answer
        if self.kind == "error":
            code, message = self._error
            return {"jsonrpc": "2.0", "id": answer["id"], "error": {"code": code, "message": message}}
        if "result" not in answer:
            return answer
        return answer | {"result": self._instead(method, answer["result"])}

    def frames(self, frame: str) -> list[str]:
        """Return what is notified instead of a frame."""
        message = json.loads(frame)
        result = message.get("params", {}).get("result")
        if self.kind != "notified" or not isinstance(result, dict) or "number" not in result:
            return [frame]
        heads = self._heads(self._random, result)
        return [json.dumps(message | {"params": message["params"] | {"result": head}}) for head in heads]

    def _instead(self, method: str, result: Json) -> Json:
        said = self._said[method]
        said.append(result)
        del said[1:-30]
        match self.kind:
            case "value":
                return self._value
            case "earlier":
                return self._random.choice(said)
            case "first":
                return said[0]
        # The same part each time: a lie that contradicts itself is found out sooner.
        place = self._places.setdefault(method, self._random.choice(list(_places(result, self._random))))
        return _replaced(result, place, self._near if self.kind == "near" else lambda _: self._value)

    def _near(self, value: Json) -> Json:
        random = self._random
        if isinstance(value, bool):
            return not value
        if isinstance(value, list):
            return random.choice([value * 2, value[::-1], value[:-1]])
        if not isinstance(value, str):
            return value
        if value.startswith("0x") and 2 < len(value) < 20:
            return hex(max(0, int(value, 16) + random.choice(NUMBER_STEPS)))
        if not value.startswith("0x") or len(value) == 2:
            return value[::-1]
        place = random.randrange(2, len(value))
        return value[:place] + random.choice("0123456789abcdef") + value[place + 1 :]


class RuledProxy(LyingProxy):
    """What the daemon takes for a member's node; its rules may be changed while it serves.

    Args:
        seed: As of `LyingProxy`; the rules have their own.
        http: Where the node answers.
        ws: Where it notifies.
        others: Where other nodes answer.
        slow_seconds: Not used: it answers at once.

    Attributes:
        rules: By which it lies, while it is lying.
    """

    def __init__(self, seed: int, http: str, ws: str, others: list[str], slow_seconds: float) -> None:
        super().__init__(seed, http, ws, others, slow_seconds)
        self.habits = {}
        self.rules: tuple[Rule, ...] = ()

    def __repr__(self) -> str:
        return f"lies by {list(self.rules)}"

    async def _answer(self, call: dict[str, Json]) -> dict[str, Json]:
        method = call["method"]
        rules = [rule for rule in self.rules if rule.concerns(method)]
        unsent = method in SENDING and any(rule.kind == "error" and rule.share == 1.0 for rule in rules)
        answer = {"id": call["id"], "result": None} if unsent else await self._asked(self._http, call)
        for rule in rules:
            answer = rule.answer(method, answer)
        return answer

    def _frames_for(self, frame: str) -> list[str]:
        frames = [frame]
        for rule in self.rules if self.lying else ():
            frames = [told for one in frames for told in rule.frames(one)]
        return frames


def _places(value: Json, random: Random, place: Path = ()) -> Iterator[Path]:
    yield place
    if isinstance(value, dict):
        for name in value:
            yield from _places(value[name], random, (*place, name))
    elif isinstance(value, list) and value:
        chosen = random.randrange(len(value))
        yield from _places(value[chosen], random, (*place, chosen))


def _replaced(value: Json, place: Path, new: Callable[[Json], Json]) -> Json:
    if not place:
        return new(value)
    first, *rest = place
    if isinstance(value, dict) and first in value:
        return value | {first: _replaced(value[first], tuple(rest), new)}
    if isinstance(value, list) and value and isinstance(first, int):
        at = min(first, len(value) - 1)
        return [*value[:at], _replaced(value[at], tuple(rest), new), *value[at + 1 :]]
    return value


def _behind(random: Random, head: dict[str, Json]) -> list[dict[str, Json]]:
    return [head, _at(head, int(head["number"], 16) - random.randrange(1, 50))]


def _next(random: Random, head: dict[str, Json]) -> list[dict[str, Json]]:
    forged = _at(head, int(head["number"], 16) + 1) | {"hash": "0x" + random.randbytes(32).hex()}
    return [forged | {"parentHash": head["hash"]}, head]


def _far(random: Random, head: dict[str, Json]) -> list[dict[str, Json]]:
    return [_at(head, int(head["number"], 16) + (1 << random.randrange(1, 66)))]


def _all_again(_: Random, head: dict[str, Json]) -> list[dict[str, Json]]:
    number = int(head["number"], 16)
    return [*(_at(head, n) for n in range(number - 500, number)), head]


def _often(_: Random, head: dict[str, Json]) -> list[dict[str, Json]]:
    return [head] * 300


def _orphaned(random: Random, head: dict[str, Json]) -> list[dict[str, Json]]:
    return [head | {"parentHash": "0x" + random.randbytes(32).hex()}]


def _always_one(_: Random, head: dict[str, Json]) -> list[dict[str, Json]]:
    return [head | {"hash": "0x" + "5a" * 32, "parentHash": "0x" + "5a" * 32}]


def _at(head: dict[str, Json], number: int) -> dict[str, Json]:
    return head | {"number": hex(max(0, number))}


HEADS: Final = (_behind, _next, _far, _all_again, _often, _orphaned, _always_one)
