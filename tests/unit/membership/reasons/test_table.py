import ast
from pathlib import Path

import pytest

from orchestrator import membership
from orchestrator.membership.reasons.judgements import Judgement
from orchestrator.membership.reasons.table import RULES, Reason, describe, rule_of

SOURCES = sorted(Path(membership.__file__).parents[1].rglob("*.py"))


def slugs_in(source: Path) -> set[str]:
    """The literal slugs of the reasons that a module makes."""
    calls = [node for node in ast.walk(ast.parse(source.read_text())) if isinstance(node, ast.Call)]
    named = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "Reason"]
    values = [word.value for call in named for word in call.keywords if word.arg == "slug"]
    return {value.value for value in values if isinstance(value, ast.Constant) and isinstance(value.value, str)}


def test_every_reason_that_is_given_has_a_rule() -> None:
    """Every slug that any module of the package writes down is in the table."""
    unknown = {source.name: slugs_in(source) - RULES.keys() for source in SOURCES}
    assert not {name: slugs for name, slugs in unknown.items() if slugs}


@pytest.mark.parametrize("slug", RULES)
def test_every_rule_says_what_a_person_can_do(slug: str) -> None:
    """A remedy is a sentence, and the description of a reason ends with it."""
    rule = RULES[slug]
    assert rule.remedy.endswith(".")
    assert rule.remedy[0].isupper()
    assert describe(Reason(slug=slug, detail="seen 3 times")).endswith(f": seen 3 times. {rule.remedy}")


@pytest.mark.parametrize("slug", RULES)
def test_slugs_are_stable_words(slug: str) -> None:
    """Machines match slugs: lower-case words joined by underscores."""
    assert slug.replace("_", "").isalpha()
    assert slug == slug.lower()


def test_an_unknown_slug_is_judged_as_a_nodes_error() -> None:
    """The table is total: a reason that nobody has seen yet is tried again, with patience."""
    rule = rule_of(Reason(slug="never_heard_of"))
    assert rule is RULES["node_error"]
    assert rule.judgement is Judgement.RETRY
    assert rule.patience is not None


@pytest.mark.parametrize("slug", [slug for slug, rule in RULES.items() if rule.patience is not None])
def test_only_what_is_tried_again_needs_patience(slug: str) -> None:
    """Patience is for reasons that may pass."""
    assert RULES[slug].judgement is Judgement.RETRY


def test_a_description_without_detail_is_a_sentence() -> None:
    """A reason without detail reads as its name and its remedy."""
    assert describe(Reason(slug="not_owner")).startswith("not owner. Use the account")
