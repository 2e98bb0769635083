"""The commands of remedies."""

from orchestrator.membership.reasons.remedies import COMMANDS, commands_for
from orchestrator.membership.reasons.table import RULES, Reason


def test_the_commands_of_a_remedy_can_be_typed_as_they_are() -> None:
    """Change, group and members stand in them; what would name no member is left out; the last one retries."""
    ids = {"change_id": "c1", "privacy_group_id": "g1"}
    lost = commands_for(Reason(slug="member_missing", members=("k1", "k2")), **ids)
    assert lost[0] == "orchestrator remove g1 k1 k2"
    assert lost[-2:] == ("orchestrator add g1 k1 k2", "orchestrator retry c1")
    assert commands_for(Reason(slug="member_missing"), **ids) == ("orchestrator retry c1",)
    assert commands_for(Reason(slug="locked_by_other"), **ids)[0] == "orchestrator groups g1"
    assert commands_for(Reason(slug="not_owner"), **ids) == ()
    for slug in RULES:
        assert all("{" not in command for command in commands_for(Reason(slug=slug, members=("k",)), **ids))


def test_remedies_say_what_was_measured_to_help() -> None:
    """All nodes restarted for a chain that stands; both stores deleted together for a node that can't go on."""
    assert "restart all nodes together" in RULES["no_head"].remedy
    for slug in ("member_diverged", "former_member_unsafe"):
        assert "Besu's data and the enclave's store of this one together" in RULES[slug].remedy
        assert "Besu's data alone does not help" in RULES[slug].remedy
    assert commands_for(Reason(slug="member_diverged"), change_id="c", privacy_group_id="g")[0] == (
        "orchestrator audit --deep"
    )
    assert "No option overrides" in RULES["member_would_not_receive"].remedy


def test_commands_are_those_of_reasons_that_there_are() -> None:
    """No command is kept for a reason that nobody gives."""
    assert COMMANDS.keys() <= RULES.keys()
