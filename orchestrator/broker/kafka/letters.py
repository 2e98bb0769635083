"""Dead letters on Kafka: a topic that keeps the newest record of each key, where one without a body strikes one out."""

from collections.abc import Iterator, Mapping
from operator import methodcaller
from typing import Final

import structlog
from confluent_kafka import Message

from orchestrator.broker.kafka.reader import Reader
from orchestrator.broker.kafka.records import decoded
from orchestrator.broker.letters import MOST_LISTED_BYTES, REASON_HEADER, original_headers
from orchestrator.broker.port import DeadLetter

MOST_HEADER_BYTES: Final = 64 << 10
"""Headers of all sorts of senders have some hundred."""

_HEADER_BYTES: Final = 4
"""What a header takes beside its name and value, about."""
"""Of the letters that one look keeps in memory."""

_CALLED_WITH_CARE: Final = methodcaller("headers")
"""Calls by way of the interpreter's check that no error is left behind, which a plain call leaves out once it was made
often enough; of a name that is no UTF-8 the client gives back both an error and a list with a hole."""

_log = structlog.get_logger(__name__)


def letter_key(message: Message) -> bytes:
    """Return the key of the letter that a message becomes, the same however often it is buried."""
    return f"{message.topic()}-{message.partition()}-{message.offset()}".encode()


def headers_of(message: Message) -> dict[str, str]:
    """Return a record's headers; none where the client can't read them, since names may be any bytes.

    To be asked once for each record: of a name that is no UTF-8 the client leaves a hole in what it gives the next
    time, and touching that ends the process.
    """
    try:
        headers = _CALLED_WITH_CARE(message)
    except Exception as error:  # noqa: BLE001 - whatever the client raises, the record is taken without them
        _log.warning("headers of a message can't be read, it is taken without them", reason=repr(error))
        return {}
    found = list(headers.items() if isinstance(headers, dict) else headers or ())
    size = sum(len(name) + len(value or b"") + _HEADER_BYTES for name, value in found)
    if size > MOST_HEADER_BYTES:
        most = f"{size} bytes, at most {MOST_HEADER_BYTES} are read"
        _log.warning("headers of a message can't be read, it is taken without them", reason=most)
        return {}
    return decoded(found)


def listed(reader: Reader, topic: str, partitions: tuple[int, ...], limit: int) -> tuple[DeadLetter, ...]:
    """Return the oldest letters that are not struck out, as many as fit into memory.

    Raises:
        KafkaException: Kafka does not answer, or refuses it.
        TimeoutError: It took too long.
    """
    kept: dict[bytes, Message] = {}
    size = 0
    for message in _all(reader, topic, partitions):
        key = key_of(message)
        if (former := kept.pop(key, None)) is not None:
            size -= len(former)
        # Where not all fit, the first are kept, which are the oldest.
        if message.value() is not None and size + len(message) <= MOST_LISTED_BYTES:
            size += len(message)
            kept[key] = message
    # By time first: offsets of several partitions say nothing of each other.
    oldest = sorted(kept.values(), key=lambda message: (message.timestamp()[1], message.offset() or 0))
    return tuple(_letter(message) for message in oldest[:limit])


def found(reader: Reader, topic: str, partitions: tuple[int, ...], letter_id: str) -> Message:
    """Return the record of a letter.

    Raises:
        KeyError: There is no such letter, or it was struck out.
        KafkaException: Kafka does not answer, or refuses it.
        TimeoutError: It took too long.
    """
    part, _, number = letter_id.partition("-")
    if not (part.isascii() and part.isdigit() and number.isascii() and number.isdigit() and len(letter_id) < 40):
        raise KeyError(letter_id)
    partition, offset = int(part), int(number)
    low, high = reader.bounds(topic, partition) if partition in partitions else (0, 0)
    if not low <= offset < high:
        raise KeyError(letter_id)
    letter: Message | None = None
    for message in reader.records(topic, {partition: offset}):
        if letter is None:
            if message.offset() != offset or message.value() is None:
                break
            letter = message
        # Read to the end, since a record without a body that strikes it out comes behind it.
        elif key_of(message) == key_of(letter):
            letter = None
            break
    if letter is None:
        raise KeyError(letter_id)
    return letter


def key_of(message: Message) -> bytes:
    """Return the key by which a letter is struck out; of one that somebody else wrote without, its place."""
    key = message.key()
    return _id_of(message).encode() if key is None else key


def _all(reader: Reader, topic: str, partitions: tuple[int, ...]) -> Iterator[Message]:
    bounds = {partition: reader.bounds(topic, partition) for partition in partitions}
    starts: Mapping[int, int] = {partition: low for partition, (low, high) in bounds.items() if low < high}
    return reader.records(topic, starts)


def _id_of(message: Message) -> str:
    return f"{message.partition()}-{message.offset()}"


def _letter(message: Message) -> DeadLetter:
    headers = headers_of(message)
    return DeadLetter(
        letter_id=_id_of(message),
        reason=headers.get(REASON_HEADER, "not said"),
        body=message.value() or b"",
        headers=original_headers(headers),
    )
