"""Who sends a message, where several share a subject and sign."""

import base64
import json
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from hypothesis import given
from hypothesis import strategies as st
from jwt.api_jws import PyJWS

from orchestrator.access.callers import EVERYTHING, Caller, Door, Role
from orchestrator.access.signing_keys import PrivateKey, PublicKey
from orchestrator.engine.intake.requests import InvalidRequestError
from orchestrator.engine.intake.senders import KeysAwayError, Sender, Senders, only_sender, request_by
from orchestrator.engine.messages.cloud_events import AMQP, NATS
from orchestrator.engine.messages.signed_events import signed_event
from orchestrator.engine.ports.queues import Trigger
from tests.fakes.clock import START
from tests.processor_time import assert_brief

MOST_SECONDS_ON_THE_LOOP = 0.1

ED25519 = ed25519.Ed25519PrivateKey.generate()
KEYS: dict[str, PrivateKey] = {
    "org1": ED25519,
    "org2": ec.generate_private_key(ec.SECP256R1()),
    "org3": ec.generate_private_key(ec.SECP256K1()),
}
GROUP = base64.b64encode(b"g" * 32).decode()
MEMBER = base64.b64encode(b"m" * 32).decode()
INLET = "requests.consortium"


def sender(name: str, keys: Callable[[], Mapping[str, PublicKey]] | None) -> Sender:
    caller = Caller(name=f"queue:{name}", role=Role.OPERATOR, scope=EVERYTHING, door=Door.QUEUE)
    return Sender(caller=caller, keys=keys)


def main_key(key: PrivateKey) -> Mapping[str, PublicKey]:
    return {"main": key.public_key()}


SENDERS: Senders = {
    INLET: [sender(name, partial(main_key, key)) for name, key in KEYS.items()],
    "requests.org4": [sender("org4", None)],
}


def event(**more: Any) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "type": "membership.change.requested.v1",
        "source": "/org1/app",
        "id": "1",
        "time": START.isoformat().replace("+00:00", "Z"),
        "data": {"kind": "add_members", "privacy_group_id": GROUP, "members": [MEMBER]},
        **more,
    }


async def _nothing(*_: Any) -> None: ...


def trigger(document: Any, inlet: str = INLET, **more: Any) -> Trigger:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    more.setdefault("headers", {})
    return Trigger(body=body, acknowledge=_nothing, postpone=_nothing, bury=_nothing, inlet=inlet, **more)


def refusal(document: Any, now: Any = START, inlet: str = INLET) -> str:
    with pytest.raises(InvalidRequestError) as refused:
        request_by(SENDERS, trigger(document, inlet), now)
    assert refused.value.request_id is None or len(refused.value.request_id) <= 256
    return str(refused.value)


@pytest.mark.parametrize("name", KEYS)
def test_the_signature_says_who_asks(name: str) -> None:
    """By one subject each of several organisations is known by its key, whatever the others call theirs."""
    request, caller = request_by(SENDERS, trigger(signed_event(event(subject="a"), KEYS[name], "main")), START)
    assert (caller.name, request.request_id, request.privacy_group_id) == (f"queue:{name}", "1", GROUP)


def test_a_signed_request_comes_in_every_mode() -> None:
    """As a whole event, with its data in base64, and with its attributes in headers by NATS and AMQP."""
    document = signed_event(event(), KEYS["org1"], "main")
    jws = document["data"].encode()
    around = {name: value for name, value in document.items() if name not in ("data", "datacontenttype")}
    by_base64 = {**around, "datacontenttype": "application/jose", "data_base64": base64.b64encode(jws).decode()}
    headers = {f"ce-{name}": value for name, value in around.items()} | {"content-type": "application/jose"}
    for came in (
        trigger(by_base64),
        trigger(jws, headers=headers, binding=NATS),
        trigger(jws, headers=headers, binding=AMQP),
    ):
        assert request_by(SENDERS, came, START)[1].name == "queue:org1"


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"id": "2"}, "id"),
        ({"source": "/org2/app"}, "source"),
        ({"time": (START + timedelta(seconds=1)).isoformat()}, "time"),
        ({"subject": "another"}, "subject"),
        ({"subject": None}, "subject"),
        ({"type": "membership.change.requested.v2"}, "type"),
    ],
)
def test_what_was_signed_for_one_request_is_no_other(changed: dict[str, Any], field: str) -> None:
    """An old signature under another id, source, time or subject is refused, and the refusal names what differs."""
    document = signed_event(event(subject="a"), KEYS["org1"], "main")
    assert refusal({**document, **changed}).startswith(f"{field} is not what was signed")


def tampered(document: dict[str, Any], part: int, payload: bytes) -> dict[str, Any]:
    parts = document["data"].split(".")
    parts[part] = base64.urlsafe_b64encode(payload).decode().rstrip("=")
    return {**document, "data": ".".join(parts)}


def test_what_is_not_signed_by_who_may_ask_is_refused() -> None:
    """Unsigned, changed, by another key, by another algorithm, without an algorithm: all are dead letters."""
    document = signed_event(event(), KEYS["org1"], "main")
    assert refusal(event()).startswith("datacontenttype must be application/jose: what comes in here must be signed")
    stranger = ed25519.Ed25519PrivateKey.generate()
    nobody = "data is signed by nobody who may ask here"
    assert refusal(signed_event(event(), stranger, "main")).startswith(nobody)
    assert refusal(signed_event(event(), KEYS["org1"], "unknown")).startswith(nobody)
    other = json.dumps({**event(), "data": {**event()["data"], "kind": "remove_members"}}).encode()
    assert refusal(tampered(document, 1, other)).startswith(nobody)
    none = tampered(document, 0, json.dumps({"alg": "none", "kid": "main"}).encode())
    assert refusal(none).startswith(nobody)
    assert refusal({**none, "data": none["data"].rpartition(".")[0] + "."}).startswith(nobody)
    public = ED25519.public_key().public_bytes_raw()
    by_secret = jwt.encode(event(), public, algorithm="HS256", headers={"kid": "main"})
    assert refusal({**document, "data": by_secret}).startswith(nobody)


def jws_of(payload: bytes) -> dict[str, Any]:
    jws = PyJWS().encode(payload, KEYS["org1"], algorithm="EdDSA", headers={"kid": "main"})
    return {**event(), "datacontenttype": "application/jose", "data": jws}


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({**event(), "datacontenttype": "application/jose"}, "data must be a compact JWS, as text"),
        ({**event(), "datacontenttype": "application/jose", "data": "a.b"}, "data is no compact JWS"),
        (
            {**event(), "datacontenttype": "application/jose", "data": None, "data_base64": "?"},
            "data_base64 is no base64",
        ),
        (jws_of(b"[]"), "data signs something else than a request"),
        (jws_of(b"{}"), "data signs something else than a request"),
        (jws_of(b'{"data": 1, "data": 2}'), "data signs something else than a request"),
        (
            tampered(jws_of(b"{}"), 0, b'{"alg": "EdDSA", "kid": "main", "b64": false}'),
            "data is no compact JWS",
        ),
        (
            tampered(jws_of(b"{}"), 0, b'{"alg": "EdDSA", "kid": "main", "crit": ["x"], "x": 1}'),
            "data is no compact JWS",
        ),
        (jws_of(json.dumps({**event(), "data": 7}).encode()), "data must be an object"),
    ],
)
def test_what_is_no_signed_request_is_told(document: dict[str, Any], words: str) -> None:
    """Each other shape is refused with the reason."""
    assert refusal(document).startswith(words)


def test_the_worst_header_is_refused_in_little_time() -> None:
    """It would be read again with the key of each sender that calls its key the same."""
    header = b'{"alg":"EdDSA","kid":"main","x":[' + b"{}," * 45_000 + b"{}]}"
    jws = ".".join(base64.urlsafe_b64encode(part).decode() for part in (header, b"{}", bytes(64)))
    sent = trigger(event(datacontenttype="application/jose", data=jws))
    senders = {INLET: [sender(f"org{number}", partial(main_key, ED25519)) for number in range(16)]}

    def refused() -> None:
        with pytest.raises(InvalidRequestError, match=r"data has a header of more than 8192 characters"):
            request_by(senders, sent, START)

    assert_brief(refused, MOST_SECONDS_ON_THE_LOOP)


def test_a_key_has_to_be_named() -> None:
    """Without an id each sender's keys would have to be tried."""
    jws = PyJWS().encode(json.dumps(event()).encode(), KEYS["org1"], algorithm="EdDSA")
    said = {**event(), "datacontenttype": "application/jose", "data": jws}
    assert refusal(said).startswith("data names no key")


@pytest.mark.parametrize(
    ("age", "words"),
    [
        (timedelta(days=7, seconds=1), "so long ago is not taken; sign it again"),
        (-timedelta(minutes=5, seconds=1), "yet to come: compare the clocks"),
    ],
)
def test_a_signature_is_good_for_a_bounded_time(age: timedelta, words: str) -> None:
    """An old one could ask again for what is forgotten; one of the future has a wrong clock. Up to then it is good."""
    document = signed_event(event(), KEYS["org1"], "main")
    assert words in refusal(document, START + age)
    nearly = age - timedelta(seconds=1 if age > timedelta(0) else -1)
    assert request_by(SENDERS, trigger(document), START + nearly)[0].request_id == "1"
    assert "as RFC 3339 writes it" in refusal(signed_event(event(time="2026-01-01"), KEYS["org1"], "main"))


def test_signed_requests_are_for_who_is_known_by_a_key() -> None:
    """Where a subject is one sender's own, a signed request is no JSON; where nobody asks, it opens nothing."""
    document = signed_event(event(), KEYS["org1"], "main")
    assert refusal(document, inlet="requests.org4").startswith("datacontenttype must be application/json")
    assert request_by(SENDERS, trigger(event(), "requests.org4"), START)[1].name == "queue:org4"
    assert [only_sender(SENDERS, inlet).name for inlet in (INLET, "requests.org4", "x")] == ["", "queue:org4", ""]


def test_keys_that_cannot_be_had_conclude_nothing() -> None:
    """It is another thing than a bad signature: the message is to come again."""

    def away() -> Mapping[str, PublicKey]:
        raise KeysAwayError("gone")

    with pytest.raises(KeysAwayError):
        request_by({INLET: [sender("org1", away)]}, trigger(signed_event(event(), KEYS["org1"], "main")), START)


def test_keys_that_are_away_stop_nobody_else() -> None:
    """Of several who share a subject one has a file that can't be read: the others' requests are taken."""

    def away() -> Mapping[str, PublicKey]:
        raise KeysAwayError("gone")

    shared = {INLET: [sender("org1", away), sender("org2", partial(main_key, KEYS["org2"]))]}
    _, caller = request_by(shared, trigger(signed_event(event(), KEYS["org2"], "main")), START)
    assert caller.name == "queue:org2"
    with pytest.raises(KeysAwayError):
        request_by(shared, trigger(signed_event(event(), KEYS["org1"], "main")), START)


@given(st.text(max_size=200), st.sampled_from(["data", "data_base64"]))
def test_no_text_in_the_place_of_a_signature_is_more_than_refused(text: str, name: str) -> None:
    """Whatever stands there, the end is a refusal in words."""
    document = {key: value for key, value in event().items() if key != "data"}
    refusal({**document, "datacontenttype": "application/jose", name: text})


def test_only_whole_events_are_signed() -> None:
    """What is not there can't be signed for, and keys of other kinds do not sign."""
    with pytest.raises(ValueError, match="no time, data"):
        signed_event({key: value for key, value in event().items() if key not in ("time", "data")}, KEYS["org1"], "a")
    with pytest.raises(ValueError, match="neither Ed25519"):
        signed_event(event(), ec.generate_private_key(ec.SECP384R1()), "a")
