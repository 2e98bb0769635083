"""CloudEvents whose data is signed: a compact JWS (RFC 7515) of what is asked for, by which request, and when. Pure.

The signature covers ``id``, ``source``, ``type``, ``time`` and ``subject`` beside the data, and they must be those of
the event around it: nobody can send what somebody signed as another request, or as another's. What is signed travels as
it was signed, so that it matters to nobody how anybody writes JSON.
"""

import base64
import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import jwt
from jwt.api_jws import PyJWS

from orchestrator.access.signing_keys import PrivateKey, PublicKey, algorithm_of
from orchestrator.engine.messages.cloud_events import CloudEvent, InvalidEventError, media
from orchestrator.engine.messages.strict_json import StrictJsonError, load, shown

JOSE_TYPE: Final = "application/jose"
BOUND: Final = ("id", "source", "type", "time", "subject")
"""What is signed beside the data."""

AHEAD: Final = timedelta(minutes=5)
"""So far another machine's clock may be before ours."""

MOST_HEADER_CHARACTERS: Final = 8192
"""Of a JWS's header, which is read again with each key that may have signed it; those in use have a hundred."""

_CONTENT: Final = ("data", "data_base64", "datacontenttype")


def signed_event(event: Mapping[str, Any], key: PrivateKey, key_id: str) -> dict[str, Any]:
    """Return a CloudEvent with its data signed.

    Args:
        event: A CloudEvent as JSON has it, with `id`, `source`, `type`, `time` and `data`.
        key: Ed25519, or on the curve P-256 or secp256k1.
        key_id: How whoever verifies it calls the key (`kid`).

    Raises:
        ValueError: The event lacks one of these, or the key is of another kind.
    """
    lacking = [name for name in ("id", "source", "type", "time", "data") if name not in event]
    if lacking:
        raise ValueError(f"the event has no {', '.join(lacking)}")
    algorithm = algorithm_of(key)
    if algorithm is None:
        raise ValueError("the key is neither Ed25519 nor on the curve P-256 or secp256k1")
    said = {name: event[name] for name in (*BOUND, "data") if name in event}
    payload = json.dumps(said, separators=(",", ":"), ensure_ascii=False).encode()
    jws = PyJWS().encode(payload, key, algorithm=algorithm, headers={"kid": key_id, "typ": ""})
    around = {name: value for name, value in event.items() if name not in _CONTENT}
    return {**around, "datacontenttype": JOSE_TYPE, "data": jws}


def is_signed(event: CloudEvent) -> bool:
    """Return whether an event says that its data is signed."""
    content_type = event.attributes.get("datacontenttype")
    return isinstance(content_type, str) and media(content_type) == JOSE_TYPE


def signature_of(event: CloudEvent) -> tuple[str, str]:
    """Return the JWS of an event, and the id of the key that it names; nothing is verified yet.

    Raises:
        InvalidEventError: There is none.
    """
    if not is_signed(event):
        raise InvalidEventError("datacontenttype", f"must be {JOSE_TYPE}: what comes in here must be signed")
    jws = _text_of(event)
    if len(jws.partition(".")[0]) > MOST_HEADER_CHARACTERS:
        raise InvalidEventError("data", f"has a header of more than {MOST_HEADER_CHARACTERS} characters")
    try:
        header = jwt.get_unverified_header(jws)
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
        header = {}
    if not header or "crit" in header or "b64" in header:  # extensions are not known here (RFC 7515, 4.1.11)
        raise InvalidEventError("data", "is no compact JWS")
    key_id = header.get("kid")
    if not isinstance(key_id, str):
        raise InvalidEventError("data", "names no key: the JWS needs a kid")
    return jws, key_id


def opened(event: CloudEvent, payload: bytes, now: datetime, signed_within: timedelta) -> CloudEvent:
    """Return an event with what was signed as its data.

    Args:
        event: The event, as it came.
        payload: What its JWS signs, which was verified.
        now: The present time.
        signed_within: How long ago it may have been signed.

    Raises:
        InvalidEventError: It was signed for another event, or too long ago.
    """
    try:
        said = load(payload)
    except StrictJsonError as error:
        raise InvalidEventError("data", f"signs something else than a request: {error}") from None
    if not isinstance(said, dict) or "data" not in said:
        raise InvalidEventError("data", "signs something else than a request: an object with data")
    for name in BOUND:
        if said.get(name) != event.attributes.get(name):
            raise InvalidEventError(name, f"is not what was signed, {shown(said.get(name))}")
    _check_time(said.get("time"), now, signed_within)
    around = {name: value for name, value in event.attributes.items() if name not in _CONTENT}
    return CloudEvent(attributes={**around, "data": said["data"]})


def payload_by(jws: str, key: PublicKey) -> bytes | None:
    """Return what a JWS signs; None when it is not signed by the key."""
    algorithm = algorithm_of(key)
    if algorithm is None:
        return None
    try:
        payload: bytes = PyJWS().decode(jws, key, algorithms=[algorithm])
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
        return None
    return payload


def _text_of(event: CloudEvent) -> str:
    data: object = event.body if event.body is not None else event.attributes.get("data")
    encoded = event.attributes.get("data_base64")
    if event.body is None and data is None and isinstance(encoded, str):
        try:
            data = base64.b64decode(encoded, validate=True)
        except ValueError:
            raise InvalidEventError("data_base64", "is no base64") from None
    if isinstance(data, bytes):
        data = data.decode("ascii", "replace").strip()
    if not isinstance(data, str):
        raise InvalidEventError("data", "must be a compact JWS, as text")
    return data


def _check_time(said: object, now: datetime, signed_within: timedelta) -> None:
    try:
        at = datetime.fromisoformat(said.upper()) if isinstance(said, str) else None
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise InvalidEventError("time", "must say when it was signed, as RFC 3339 writes it")
    if at - now > AHEAD:
        raise InvalidEventError("time", f"is {shown(said)}, which is yet to come: compare the clocks")
    if now - at > signed_within:
        raise InvalidEventError("time", f"is {shown(said)}: what was signed so long ago is not taken; sign it again")
