"""Options and arguments that several verbs share."""

from pathlib import Path
from typing import Annotated

import typer

Url = Annotated[
    str,
    typer.Option("--url", envvar="ORCHESTRATOR_URL", help="Address of the daemon's HTTP API."),
]
DEFAULT_URL = "http://127.0.0.1:8080"

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]

ConfigFile = Annotated[
    Path,
    typer.Option("--config", envvar="ORCHESTRATOR_CONFIG", help="The configuration file (docs/configuration.md)."),
]
DEFAULT_CONFIG = Path("orchestrator.toml")

Group = Annotated[str, typer.Argument(metavar="GROUP", help="The group: its name, its id, or the beginning of that.")]
GroupId = Annotated[str, typer.Argument(metavar="GROUP", help="Privacy group id: base64 of 32 bytes.")]
Members = Annotated[
    list[str],
    typer.Argument(metavar="MEMBER", help="The members: names of their nodes, enclave keys, or beginnings of these."),
]
ChangeId = Annotated[str, typer.Argument(metavar="CHANGE", help="The change: its id, or the beginning of that.")]

Account = Annotated[
    str | None,
    typer.Option(help="The owner account to act as; may be left out when the daemon has one.", metavar="ADDRESS"),
]
Deadline = Annotated[int | None, typer.Option(help="Give up after so many seconds.", metavar="SECONDS", min=1)]
RequestId = Annotated[
    str | None,
    typer.Option(help="Idempotency key: asking again under it is safe. A random one by default.", metavar="ID"),
]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Follow the change to its end, or only ask for it.")]
