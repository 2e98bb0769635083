"""Showing the findings of an inspection: to a person what is wrong first, to a program all of them."""

import json
from dataclasses import asdict
from itertools import groupby
from typing import Final

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from orchestrator.doctor.checks import DOCUMENTATION
from orchestrator.doctor.findings import Finding, Level, is_healthy
from orchestrator.outside_text import one_line, sentence

_STYLES: Final = {Level.OK: "green", Level.NOTE: "cyan", Level.WARNING: "yellow", Level.ERROR: "bold red"}
_WRONG: Final = (Level.ERROR, Level.WARNING)
_INDENT: Final = 2


def as_document(findings: tuple[Finding, ...]) -> str:
    """Return the findings as one JSON document."""
    worst = max((list(Level).index(finding.level) for finding in findings), default=0)
    document = {
        "healthy": is_healthy(findings),
        "worst": list(Level)[worst].value,
        "findings": [{**asdict(found), "documentation": DOCUMENTATION[found.check]} for found in findings],
    }
    return json.dumps(document, indent=2, ensure_ascii=False)


def show(findings: tuple[Finding, ...], console: Console) -> None:
    """Show the findings: on a terminal the worst first and what is well in short, a line for each elsewhere."""
    if console.is_terminal:
        for level in _WRONG:
            for finding in findings:
                if finding.level is level:
                    _block(finding, console)
        for finding in findings:
            if finding.level is Level.NOTE:
                said = " ".join(part for part in (sentence(one_line(finding.what)), finding.remedy) if part)
                _hung(_title(finding), said, console)
        for name, well in groupby((f for f in findings if f.level is Level.OK), key=_node):
            checks = ", ".join(dict.fromkeys(finding.check for finding in well))
            _hung(Text.assemble(("ok", _STYLES[Level.OK]), f" {name}"), checks, console)
    else:
        for finding in findings:
            line = f"{finding.level.value:7} {_node(finding)} {finding.check}: {_words(finding)}"
            console.print(line, markup=False, highlight=False, soft_wrap=True)
    counts = ", ".join(f"{sum(f.level is level for f in findings)} {level.value}" for level in reversed(Level))
    console.print(
        f"{counts}. Each check is explained in docs/operations.md.", highlight=False, soft_wrap=not console.is_terminal
    )


def _block(finding: Finding, console: Console) -> None:
    """What, why and what to do, under a title; what is to be copied is not broken."""
    console.print(_title(finding), highlight=False)
    _indented(Text(one_line(finding.what)), console)
    _indented(Text(finding.why, style="dim"), console)
    _indented(Text(f"→ {finding.remedy}" if finding.remedy else ""), console)
    for line in finding.copy:
        console.print(Text(" " * 2 * _INDENT + line, style="bold"), soft_wrap=True, highlight=False)
    _indented(Text(DOCUMENTATION[finding.check], style="dim"), console)
    console.print()


def _title(finding: Finding) -> Text:
    return Text.assemble((finding.level.value, _STYLES[finding.level]), f" {_node(finding)} ", (finding.check, "bold"))


def _indented(text: Text, console: Console) -> None:
    if text:
        console.print(Padding(text, (0, 0, 0, _INDENT)), highlight=False)


def _hung(title: Text, said: str, console: Console) -> None:
    """Print a short finding after its title, further lines indented."""
    whole = title.copy().append(f": {said}")
    lines = whole.wrap(console, max(console.width - _INDENT, 20))
    for place, line in enumerate(lines):
        line.rstrip()
        console.print(Text(" " * _INDENT if place else "").append_text(line), highlight=False, soft_wrap=True)


def _words(finding: Finding) -> str:
    return " ".join(part for part in (sentence(finding.what), finding.why, finding.remedy, *finding.copy) if part)


def _node(finding: Finding) -> str:
    return finding.node or "network"
