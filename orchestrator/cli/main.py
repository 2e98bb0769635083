"""The command ``orchestrator`` and its verbs.

Verbs import what they need when they run, so that ``--help`` is quick.
"""

from collections.abc import Callable
from typing import Annotated

import typer

from orchestrator import __version__
from orchestrator.cli import asking, looking, operating, planning, running

app = typer.Typer(
    name="orchestrator",
    help="Adds and removes members of Hyperledger Besu flexible privacy groups, durably, and proves that every "
    "member's node agrees.\n\nExit codes: 0 done, 1 failed, 2 wrong usage, 3 parked (a person is needed).",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # it would print the values of local variables, secrets among them
    rich_markup_mode=None,
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Take the options that stand before a verb."""


_VERBS: tuple[tuple[str, dict[str, Callable[..., None]]], ...] = (
    ("Try", {"demo": running.demo}),
    (
        "Set up",
        {"init": running.init},
    ),
    ("Run", {"run": running.run, "migrate": running.migrate, "doctor": running.doctor, "audit": running.audit, "markers": running.markers}),
    (
        "Ask",
        {
            "create": asking.create,
            "add": asking.add,
            "remove": asking.remove,
            "set": asking.set_members,
            "unlock": asking.unlock,
        },
    ),
    (
        "Look",
        {
            "groups": looking.groups,
            "changes": looking.changes,
            "show": looking.show,
            "watch": looking.watch,
            "schema": looking.schema,
        },
    ),
    ("Operate", {"retry": operating.retry, "cancel": operating.cancel, "dead-letters": operating.dead_letters}),
)

for _panel, _verbs in _VERBS:
    for _name, _verb in _verbs.items():
        app.command(_name, rich_help_panel=_panel)(_verb)

app.add_typer(planning.app, name="plan", rich_help_panel="Ask")

# The devnet reads its own options, so that they stand in one place.
app.command(
    "devnet",
    rich_help_panel="Try",
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []},
)(running.devnet)
