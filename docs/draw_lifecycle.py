"""Draws what `docs/lifecycle.md` shows of the rules from the rules themselves.

Run ``python docs/draw_lifecycle.py`` after a change of `machine.TRANSITIONS` or `reasons.RULES`; a test compares.
"""

import re
from pathlib import Path

from orchestrator.membership.machine import TRANSITIONS
from orchestrator.membership.model import ENDED, State
from orchestrator.membership.reasons.judgements import Judgement
from orchestrator.membership.reasons.table import RULES
from orchestrator.membership.triage.signals import Signal

DOCUMENT = Path(__file__).with_name("lifecycle.md")

ROLLBACKS = frozenset(signal for signal in Signal if signal.value.endswith("rolled back"))
"""Signals of a reorganisation: in a diagram of their own, since they go against the stream."""

MEANING = {
    Judgement.RETRY: "tried again",
    Judgement.TERMINAL: "fails",
    Judgement.PARK: "parked",
}


def diagram(signals: frozenset[Signal]) -> str:
    """Return the arrows of some signals as a Mermaid diagram; an arrow carries all signals between its two states."""
    arrows: dict[tuple[State, State], list[str]] = {}
    for (source, signal), target in TRANSITIONS.items():
        if signal in signals and (source is not target or signal is not Signal.UNDECIDED):
            arrows.setdefault((source, target), []).append(signal.value)
    lines = ["```mermaid", "stateDiagram-v2"]
    if (State.QUEUED, State.PREFLIGHT) in arrows:
        lines.append("    [*] --> queued")
    lines += [f"    {source} --> {target}: {' / '.join(names)}" for (source, target), names in arrows.items()]
    ends = [state for state in State if state in ENDED and any(target is state for _, target in arrows)]
    return "\n".join([*lines, *(f"    {state} --> [*]" for state in ends), "```"])


def noted() -> str:
    """Return the states that take note of facts without leaving."""
    states = [f"`{source}`" for (source, signal), _ in TRANSITIONS.items() if signal is Signal.UNDECIDED]
    return (
        f"In {', '.join(states)} an observation may also leave the matter *undecided*: "
        "what was seen is remembered, and the state stays."
    )


def reasons() -> str:
    """Return the table of reasons."""
    lines = ["| reason | what becomes of the change | what to do |", "|---|---|---|"]
    for slug, rule in RULES.items():
        fate = MEANING[rule.judgement]
        if rule.patience is not None:
            fate += " once, then parked" if rule.patience == 1 else f", parked after {rule.patience} times in a row"
        if rule.member_specific:
            fate += "; a shared batch is split"
        lines.append(f"| `{slug}` | {fate} | {rule.remedy} |")
    return "\n".join(lines)


def parts() -> dict[str, str]:
    """Return what is drawn, by the name of its place in the document."""
    return {
        "states": diagram(frozenset(Signal) - ROLLBACKS),
        "noted": noted(),
        "reorganisations": diagram(ROLLBACKS),
        "reasons": reasons(),
    }


def drawn(text: str) -> str:
    """Return the document with everything that is drawn as it is now.

    Raises:
        ValueError: The document has no place for a part.
    """
    for name, part in parts().items():
        found = re.search(rf"(<!-- {name} -->\n).*?(\n<!-- /{name} -->)", text, re.DOTALL)
        if found is None:
            raise ValueError(f"{DOCUMENT.name} has no place for {name}: add <!-- {name} --> and <!-- /{name} -->")
        text = text[: found.end(1)] + part + text[found.start(2) :]
    return text


if __name__ == "__main__":
    DOCUMENT.write_text(drawn(DOCUMENT.read_text()))
