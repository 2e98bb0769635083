"""The command ``orchestrator`` and its verbs.

Verbs import what they need when they run, so that ``--help`` is quick.
"""

from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from orchestrator import __version__
from orchestrator.cli import request_signature
from orchestrator.cli.verbs import attention, audit_log, guard, operate, plan, requests, tokens, views, webhooks
from orchestrator.cli.verbs import backup as keeping
from orchestrator.cli.verbs import publish as publishing
from orchestrator.cli.verbs import rehearse as rehearsing
from orchestrator.cli.verbs import run as running

_HELP_OPTIONS = {"help_option_names": ["-h", "--help"]}


class _InPanels(TyperGroup):
    """Lists the verbs by what they are for, without the libraries that would take longer to load than to read."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the list."""
        del ctx
        panels: dict[str, list[tuple[str, str]]] = {}
        longest = max(map(len, self.commands))
        for name, command in self.commands.items():
            line = command.get_short_help_str(formatter.width - longest - 6)
            panels.setdefault(getattr(command, "rich_help_panel", "") or "", []).append((name.ljust(longest), line))
        for panel in (name for name, _ in _VERBS):
            with formatter.section(panel):
                formatter.write_dl(panels[panel])


app = typer.Typer(
    name="orchestrator",
    cls=_InPanels,
    context_settings=_HELP_OPTIONS,
    help="Adds and removes members of Hyperledger Besu flexible privacy groups, durably, and proves that every "
    "member's node agrees.\n\nExit codes: 0 done, 1 failed, 2 wrong usage, 3 parked (a person is needed), "
    "130 interrupted.",
    no_args_is_help=True,
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


# In the order in which somebody new needs them; `--help` shows it.
_VERBS: tuple[tuple[str, dict[str, Callable[..., None]]], ...] = (
    ("Try", {"demo": running.demo}),
    (
        "Set up",
        {
            "init": running.init,
            "doctor": running.doctor,
            "rehearse": rehearsing.rehearse,
            "migrate": running.migrate,
            "run": running.run,
        },
    ),
    (
        "Ask for a change",
        {
            "create": requests.create,
            "add": requests.add,
            "remove": requests.remove,
            "set": requests.set_members,
            "unlock": requests.unlock,
            "publish": publishing.publish,
            "sign": request_signature.sign,
        },
    ),
    (
        "Look",
        {
            "attention": attention.attention,
            "groups": views.groups,
            "changes": views.changes,
            "show": views.show,
            "watch": views.watch,
            "audit": running.audit,
            "schema": views.schema,
        },
    ),
    (
        "Operate",
        {
            "retry": operate.retry,
            "cancel": operate.cancel,
            "dead-letters": operate.dead_letters,
            "markers": running.markers,
            "backup": keeping.backup,
            "restore": keeping.restore,
            "rescue": guard.rescue,
            "cure": requests.cure,
        },
    ),
)

for _panel, _verbs in _VERBS:
    for _name, _verb in _verbs.items():
        app.command(_name, rich_help_panel=_panel, context_settings=_HELP_OPTIONS)(_verb)

app.add_typer(tokens.app, name="tokens", rich_help_panel="Operate", context_settings=_HELP_OPTIONS)
app.add_typer(audit_log.app, name="audit-log", rich_help_panel="Operate", context_settings=_HELP_OPTIONS)
app.add_typer(plan.app, name="plan", rich_help_panel="Look", context_settings=_HELP_OPTIONS)
app.add_typer(webhooks.app, name="webhooks", rich_help_panel="Operate", context_settings=_HELP_OPTIONS)
app.add_typer(guard.app, name="guard", rich_help_panel="Operate", context_settings=_HELP_OPTIONS)

# The devnet reads its own options, so that they stand in one place.
app.command(
    "devnet",
    rich_help_panel="Try",
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []},
)(running.devnet)
