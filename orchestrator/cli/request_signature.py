"""``orchestrator sign``: signs a request, for where several organisations send by one subject or queue."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.display.output import Exit, fail
from orchestrator.cli.verbs.publish import read_input

if TYPE_CHECKING:
    from orchestrator.access.signing_keys import PrivateKey

KeyFile = Annotated[
    Path,
    typer.Option(
        "--key",
        help="The private key, PEM (Ed25519, P-256 or secp256k1), mode 0600.",
        metavar="FILE",
        show_default=False,
    ),
]
KeyId = Annotated[
    str, typer.Option(help="What the daemon calls the key: `kid` in its JWKS, or the source's name.", metavar="ID")
]


def sign(
    key: KeyFile,
    key_id: KeyId,
    file: Annotated[
        str, typer.Argument(metavar="[FILE]", help="A CloudEvent as JSON; - reads standard input.", show_default=False)
    ] = "-",
) -> None:
    """Sign a request, and print it.

    It is checked first, and gets the present time where it has none. What is printed is the CloudEvent to send.
    """
    import json
    from datetime import UTC, datetime

    from orchestrator.engine.intake.requests import InvalidRequestError, parse_trigger
    from orchestrator.engine.messages.signed_events import signed_event

    body = read_input(file)
    try:
        # What the daemon would refuse is refused here: it would come back as a dead letter, signed.
        parse_trigger(body, {"content-type": "application/cloudevents+json"})
    except InvalidRequestError as error:
        raise fail(f"{file}: {error}", Exit.USAGE) from None
    event = {"time": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"), **json.loads(body)}
    try:
        signed = signed_event(event, _read_key(key), key_id)
    except ValueError as error:
        raise fail(str(error), Exit.USAGE) from None
    typer.echo(json.dumps(signed, ensure_ascii=False))


def _read_key(path: Path) -> "PrivateKey":
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    from orchestrator.config import secret_trouble

    if (trouble := secret_trouble(path)) is not None:
        raise fail(trouble, Exit.USAGE)
    try:
        found = load_pem_private_key(path.read_bytes(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise fail(f"{path} holds no private key in PEM without a password (-----BEGIN PRIVATE KEY-----)") from None
    if not isinstance(found, ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey):
        raise fail(f"{path} holds a key that is neither Ed25519 nor on the curve P-256 or secp256k1", Exit.USAGE)
    return found
