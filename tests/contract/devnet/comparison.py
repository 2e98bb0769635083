"""Comparing a recorded answer with the devnet's, by meaning.

Equal: everything but what chance or time makes. A hash may be another hash, but then always the same other one, so that
what was equal on the real network (two nodes' state roots, a receipt's block and a block) is equal on the devnet, and
what was different is different.
"""

import re
from dataclasses import dataclass, field
from typing import Any

HASH = re.compile(r"0x[0-9a-f]{64}\Z")
HEX = re.compile(r"0x[0-9a-f]*\Z")
MEMBER = re.compile(r'"(\w+)":("[^"]*"|[\d.]+|true|false|null|[\[{])')
GET_VERSION = "0x0d8e6e2c"
PUBLIC = frozenset(
    {"eth_getTransactionReceipt", "eth_getTransactionByHash", "eth_getBlockByNumber", "eth_getBlockByHash"}
)
HASH_FIELDS = frozenset({"hash", "blockHash", "parentHash", "commitmentHash", "stateRoot", "transactionsRoot"})
PUBLIC_CHANCE = frozenset({"from", "r", "s", "v", "publicKey", "raw", "input", "extraData", "receiptsRoot"})
"""Made from random keys; the root of the receipts is, through the gas of the payload key's zero bytes."""
TIME = frozenset({"timestamp", "size"})
GAS = frozenset({"gasUsed", "cumulativeGasUsed"})
PLACE = frozenset({"transactionIndex", "cumulativeGasUsed"})


@dataclass(slots=True)
class Comparison:
    """What was learned so far about recorded and actual values.

    Attributes:
        actual_of: the devnet's value for a recorded one.
        recorded_of: the other way round.
        validators: addresses that may make blocks.
        stand_ins: the devnet's account for a recorded one that sent public transactions.
        any_order: markers of random accounts share blocks, where their order is chance.
    """

    validators: frozenset[str]
    actual_of: dict[str, str] = field(default_factory=dict)
    recorded_of: dict[str, str] = field(default_factory=dict)
    stand_ins: dict[str, str] = field(default_factory=dict)
    any_order: bool = False

    def translate(self, value: Any) -> Any:
        """Put the devnet's values into a recorded request."""
        if isinstance(value, str):
            return self.actual_of.get(value, value)
        if isinstance(value, list):
            return [self.translate(item) for item in value]
        if isinstance(value, dict):
            return {key: self.translate(item) for key, item in value.items()}
        return value

    def differences(self, method: str | None, params: list[Any], recorded: Any, actual: Any) -> list[str]:
        """Say where an answer differs from the recorded one; nothing when it means the same."""
        if not isinstance(recorded, dict) or not isinstance(actual, dict):
            return self._walk("", recorded, actual, public=False)
        if "result" in recorded and "result" in actual:
            special = self._special(method, params, recorded["result"], actual["result"])
            if special is not None:
                return special
        pushed = recorded.get("method") == "eth_subscription"
        return self._walk("", recorded, actual, public=method in PUBLIC or pushed)

    def differences_of_beginning(self, method: str | None, recorded: str, actual: str) -> list[str]:
        """As ``differences``, of an answer of which only the beginning was recorded: its members in order."""
        found = []
        known, got = MEMBER.findall(recorded), MEMBER.findall(actual)
        for at, (key, value) in enumerate(known):
            if at >= len(got) or got[at][0] != key:
                found.append(f"member {at} is {got[at : at + 1]} instead of {key}")
                break
            where = f"result[{at}].{key}"
            found += self._field(where, key, value.strip('"'), got[at][1].strip('"'), public=method in PUBLIC)
        return found

    def same_hash(self, recorded: str, actual: str) -> bool:
        """Tell whether two hashes correspond, and remember that they do."""
        known = self.actual_of.get(recorded)
        if known is None and actual not in self.recorded_of:
            self.actual_of[recorded], self.recorded_of[actual] = actual, recorded
            return True
        return known == actual

    def _special(self, method: str | None, params: list[Any], recorded: Any, actual: Any) -> list[str] | None:
        if not isinstance(recorded, str | dict):
            return None
        if method in {"eea_sendRawTransaction", "eth_sendRawTransaction", "priv_debugGetStateRoot"}:
            return self._hash(method, recorded, actual)
        if method == "priv_distributeRawTransaction":
            return self._payload_keys(recorded, actual)
        if method == "priv_call" and params[1].get("data") == GET_VERSION and recorded != "0x":
            return self._hash(method, recorded, actual)
        if method == "priv_getCode":
            return _code(recorded, actual)
        return None

    def _payload_keys(self, recorded: Any, actual: Any) -> list[str]:
        """One key, or for an addition to a group with a history two."""
        if not isinstance(actual, str) or len(actual) != len(recorded):
            return [f"payload keys: {_short(actual)} is of another length than {_short(recorded)}"]
        return [
            difference
            for at in range(2, len(recorded), 64)
            for difference in self._hash("payload key", "0x" + recorded[at : at + 64], "0x" + actual[at : at + 64])
        ]

    def _hash(self, where: str, recorded: Any, actual: Any) -> list[str]:
        if isinstance(actual, str) and HASH.match(actual) and self.same_hash(recorded, actual):
            return []
        return [f"{where}: recorded {recorded!r} was {self.actual_of.get(recorded)!r} before, now {actual!r}"]

    def _walk(self, where: str, recorded: Any, actual: Any, *, public: bool) -> list[str]:
        if isinstance(recorded, dict) and isinstance(actual, dict):
            found = [f"{where}.{key}: missing" for key in recorded if key not in actual]
            found += [f"{where}.{key}: {_short(actual[key])} not recorded" for key in actual if key not in recorded]
            for key in recorded:
                if key in actual:
                    found += self._field(f"{where}.{key}", key, recorded[key], actual[key], public=public)
            return found
        if isinstance(recorded, list) and isinstance(actual, list):
            if len(recorded) != len(actual):
                return [f"{where}: {len(actual)} items instead of {len(recorded)}"]
            return [
                difference
                for at, (one, other) in enumerate(zip(recorded, actual, strict=True))
                for difference in self._walk(f"{where}[{at}]", one, other, public=public)
            ]
        if recorded == actual and type(recorded) is type(actual):
            return []
        # Hashes of transactions in lists and frames; contract data never comes here alone.
        if public and _is_hash(recorded) and _is_hash(actual) and self.same_hash(recorded, actual):
            return []
        return [f"{where}: {_short(actual)} instead of {_short(recorded)}"]

    def _field(self, where: str, key: str, recorded: Any, actual: Any, *, public: bool) -> list[str]:
        if not isinstance(recorded, str) or not isinstance(actual, str):
            return self._walk(where, recorded, actual, public=public)
        in_log_or_public = public or "logs[" in where or "result[" in where or "params.result" in where
        if key in HASH_FIELDS or (key == "transactionHash" and in_log_or_public):
            return self._hash(where, recorded, actual)
        if public and key in PUBLIC_CHANCE:
            same_kind = HEX.match(actual) and (
                key in {"r", "s", "v", "raw", "extraData"} or len(actual) == len(recorded)
            )
            return [] if same_kind else [f"{where}: {_short(actual)} is of another kind than {_short(recorded)}"]
        if key in TIME:
            return [] if HEX.match(actual) else [f"{where}: {actual!r} is no quantity"]
        if self.any_order and key in PLACE:
            return [] if HEX.match(actual) else [f"{where}: {actual!r} is no quantity"]
        if key in GAS:
            # A zero byte in the random payload key costs 12 gas less.
            apart = abs(int(actual, 16) - int(recorded, 16))
            return [] if apart % 12 == 0 and apart <= 12 * 8 else [f"{where}: {actual} instead of {recorded}"]
        if public and key == "to":
            recorded = self.stand_ins.get(recorded, recorded)
        if public and key == "miner":
            return [] if actual in self.validators else [f"{where}: {actual} is no validator"]
        return self._walk(where, recorded, actual, public=public)


def _is_hash(value: Any) -> bool:
    return isinstance(value, str) and HASH.match(value) is not None


def _code(recorded: Any, actual: Any) -> list[str]:
    if not isinstance(actual, str) or not HEX.match(actual) or len(actual) <= 2:
        return [f"priv_getCode: {_short(actual)} is no code"]
    wanted = recorded["push4_selectors"] if isinstance(recorded, dict) else []
    return [f"priv_getCode: selector {selector} is missing" for selector in wanted if "63" + selector not in actual]


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 200 else text[:200] + "…"
