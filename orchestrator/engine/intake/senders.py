"""Who sends a message: by the subject or queue that it came in by, and by whom it is signed where several share one."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from orchestrator.access.callers import Caller, Door, anyone
from orchestrator.access.signing_keys import PublicKey
from orchestrator.engine.intake.requests import ChangeRequest, InvalidRequestError, read_event, request_of
from orchestrator.engine.messages.cloud_events import CloudEvent, InvalidEventError
from orchestrator.engine.messages.signed_events import opened, payload_by, signature_of
from orchestrator.engine.ports.queues import Trigger
from orchestrator.outside_text import presentable

LONGEST_AGE = timedelta(days=7)


class KeysAwayError(Exception):
    """A sender's keys can't be had now; the message says why. Nothing is concluded about what it signed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """One that asks by a subject or queue.

    Attributes:
        caller: Who it is, and what it may ask for.
        keys: Returns its present public keys by their ids, or raises `KeysAwayError`; None: it signs nothing, and has
            the subject or queue for itself.
        signed_within: How long ago it may have signed what it sends.
    """

    caller: Caller
    keys: Callable[[], Mapping[str, PublicKey]] | None = None
    signed_within: timedelta = LONGEST_AGE


Senders = Mapping[str, Sequence[Sender]]
"""By subject or queue; empty where whoever may publish asks for whatever it likes."""


def request_by(senders: Senders, trigger: Trigger, now: datetime) -> tuple[ChangeRequest, Caller]:
    """Return what a message asks for, and who asks: what it says of itself counts for nothing.

    Args:
        senders: Who may.
        trigger: The message.
        now: The present time.

    Raises:
        InvalidRequestError: It is no valid request, nobody is configured to ask that way, or it is not signed as it
            must be.
        KeysAwayError: Whether it is signed can't be told now.
    """
    event = read_event(trigger.body, trigger.headers, trigger.binding)
    here = senders.get(trigger.inlet, ())
    if any(sender.keys is not None for sender in here):
        try:
            event, caller = _signed_by(event, here, now)
        except InvalidEventError as error:
            raise InvalidRequestError(error.field, error.message, request_id=_id_of(event)) from None
        return request_of(event, trigger.headers), caller
    request = request_of(event, trigger.headers)
    if not senders:
        return request, anyone(Door.QUEUE)
    if not here:
        raise InvalidRequestError(
            "source",
            f"nobody asks by {presentable(trigger.inlet)}: it is none of broker.sources",
            request_id=request.request_id,
            privacy_group_id=request.privacy_group_id,
        )
    return request, here[0].caller


def only_sender(senders: Senders, inlet: str) -> Caller:
    """Return who alone asks by a subject or queue; nobody in particular where several do, or none."""
    here = senders.get(inlet, ())
    return here[0].caller if len(here) == 1 else anyone(Door.QUEUE)


def _signed_by(event: CloudEvent, here: Sequence[Sender], now: datetime) -> tuple[CloudEvent, Caller]:
    jws, key_id = signature_of(event)
    away: KeysAwayError | None = None
    for sender in here:
        try:
            # Each one's keys on their own: a key id is chosen by its sender, and two may choose the same.
            key = sender.keys().get(key_id) if sender.keys is not None else None
        except KeysAwayError as error:
            away = error  # one sender's keys are away: the others', who share the subject, are there
            continue
        payload = payload_by(jws, key) if key is not None else None
        if payload is not None:
            return opened(event, payload, now, sender.signed_within), sender.caller
    if away is not None:
        raise away
    raise InvalidEventError("data", f"is signed by nobody who may ask here (kid {presentable(key_id, 64)})")


def _id_of(event: CloudEvent) -> str | None:
    said = event.attributes.get("id")
    return presentable(said) if isinstance(said, str) and said else None
