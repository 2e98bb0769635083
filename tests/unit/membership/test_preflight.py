from dataclasses import replace

import pytest

from orchestrator.membership.attempt import Action, AttemptStatus
from orchestrator.membership.facts import Surveyed
from orchestrator.membership.forecast.verdict import Danger, Scope
from orchestrator.membership.heads import BEHIND_BLOCKS
from orchestrator.membership.model import Change, Kind, Plan
from orchestrator.membership.preflight import plan_for
from orchestrator.membership.reasons.judgements import Judgement
from orchestrator.membership.reasons.table import Reason, describe, rule_of
from tests.fakes.changes import a_change, an_attempt
from tests.fakes.surveys import NEW, OLD, SECOND, a_forecast, a_member, a_survey, a_view, no_view

ADD = a_change("add", members=(NEW,))
REMOVE = a_change("remove", kind=Kind.REMOVE_MEMBERS, members=(SECOND,))
CREATE = a_change("create", kind=Kind.CREATE_GROUP, members=(OLD, SECOND))
UNLOCK = a_change("unlock", kind=Kind.UNLOCK_GROUP, members=())
SET = a_change("set", kind=Kind.SET_MEMBERS, members=(OLD, NEW))

LOCKED = a_view(locked=True)


def planned(found: Plan | Reason) -> Plan:
    assert isinstance(found, Plan), found
    return found


def refused(found: Plan | Reason) -> str:
    assert isinstance(found, Reason), found
    return found.slug


def test_an_addition_is_planned_from_who_is_missing() -> None:
    """Members that are in already are not added again."""
    plan = planned(plan_for(replace(ADD, members=(SECOND, NEW)), a_survey(a_member())))
    assert (plan.to_add, plan.to_remove) == ((NEW,), ())
    assert (plan.node, plan.abi, plan.participants, plan.version) == ("node1", "bytes", (OLD, SECOND), "0x01")
    assert plan.first_block == 10


def test_a_plan_knows_the_groups_newest_block_where_its_history_was_read() -> None:
    """A lock keeps a block from it."""
    seen = a_survey(a_member(), forecast=replace(a_forecast(), last_block=7))
    assert planned(plan_for(ADD, seen)).last_block == 7
    assert planned(plan_for(REMOVE, a_survey(forecast=None))).last_block == 0


def test_a_removal_is_planned_from_who_is_there() -> None:
    """Removing a stranger changes nothing, so it is not sent."""
    plan = planned(plan_for(replace(REMOVE, members=(SECOND, "stranger")), a_survey()))
    assert (plan.to_add, plan.to_remove) == ((), (SECOND,))


def test_a_desired_set_is_planned_as_what_differs() -> None:
    """What is missing is added, what is too much is removed."""
    plan = planned(plan_for(SET, a_survey(a_member())))
    assert (plan.to_add, plan.to_remove) == ((NEW,), (SECOND,))


def test_a_creation_is_planned_for_a_free_id() -> None:
    """The members of a new group are added with the dialect of the node's own version."""
    plan = planned(plan_for(CREATE, a_survey(view=no_view(), abi=None, native_abi="bytes32", owner=None)))
    assert (plan.to_add, plan.abi, plan.participants) == ((OLD, SECOND), "bytes32", ())


def test_a_group_that_is_as_asked_needs_nothing() -> None:
    """Creating, adding, removing or setting what is so already plans no transaction."""
    done = [
        CREATE,
        replace(ADD, members=(SECOND,)),
        replace(REMOVE, members=(NEW,)),
        replace(SET, members=(OLD, SECOND)),
    ]
    for change in done:
        plan = planned(plan_for(change, a_survey()))
        assert (plan.to_add, plan.to_remove) == ((), ())


@pytest.mark.parametrize(("behind", "slug"), [(BEHIND_BLOCKS + 1, "node_behind")])
def test_a_node_that_lags_is_not_sent_through(behind: int, slug: str) -> None:
    """A node that lags gives a stale private nonce and bundles a stale history (docs/besu.md#nonces)."""
    assert refused(plan_for(ADD, a_survey(newest_head=10 + behind))) == slug
    planned(plan_for(ADD, a_survey(newest_head=10 + BEHIND_BLOCKS)))


def test_a_node_that_syncs_is_not_sent_through() -> None:
    """What it says of the group is not how the group is."""
    assert refused(plan_for(REMOVE, a_survey(syncing=True))) == "node_behind"


def test_only_the_owner_changes_a_group() -> None:
    """An account that did not create the group is refused before anything is sent (docs/besu.md#words)."""
    for change in (ADD, REMOVE, SET, UNLOCK):
        assert refused(plan_for(change, a_survey(owner=False))) == "not_owner"


def test_an_owner_that_can_not_be_told_is_tried() -> None:
    """Old nodes answer the simulated call with an error that says nothing: the transaction will tell."""
    planned(plan_for(ADD, a_survey(owner=None)))


def test_an_unknown_group_can_not_be_changed() -> None:
    """A node answers `0x` for a group that it is no member of (docs/besu.md#looking-before-leaping)."""
    for change in (ADD, REMOVE, SET, UNLOCK):
        assert refused(plan_for(change, a_survey(view=no_view(), abi=None, owner=None))) == "group_unknown"


def test_an_id_in_use_is_not_created_again() -> None:
    """An addition to a locked group of the same owner simply adds, so a creation must find the id free."""
    assert refused(plan_for(replace(CREATE, members=(OLD, NEW)), a_survey())) == "group_exists"
    assert refused(plan_for(CREATE, a_survey(owner=False))) == "group_exists"


def test_what_was_seen_to_create_the_group_is_no_others_id() -> None:
    """A creation that was parked behind its effect is found done, though others joined, and left, while it was."""
    for status, found in ((AttemptStatus.EFFECTIVE, None), (AttemptStatus.VOID, "group_exists")):
        attempt = replace(an_attempt("create", status, action=Action.CREATE), members=(OLD, NEW))
        made = plan_for(replace(CREATE, members=(OLD, NEW), attempt=attempt), a_survey())
        assert (made.slug if isinstance(made, Reason) else None) == found
        assert isinstance(made, Reason) or (made.to_add, made.to_remove) == ((), ())
    locked = replace(an_attempt("lock", AttemptStatus.EFFECTIVE), members=())
    assert refused(plan_for(replace(CREATE, members=(OLD, NEW), attempt=locked), a_survey())) == "group_exists"


def test_a_group_is_created_by_a_members_node() -> None:
    """The node that sends the creation has to be among the members (docs/besu.md#life-of-a-change)."""
    found = plan_for(replace(CREATE, members=(SECOND, NEW)), a_survey(view=no_view(), abi=None, owner=None))
    assert refused(found) == "sender_not_member"


def test_a_group_is_changed_through_a_members_node() -> None:
    """A sender whose enclave key is no member gets a bare 0x0 (docs/besu.md#outcomes)."""
    assert refused(plan_for(ADD, a_survey(sender_key=NEW))) == "sender_not_member"


def test_the_sender_does_not_remove_itself() -> None:
    """Its node would not see the outcome."""
    assert refused(plan_for(replace(REMOVE, members=(OLD,)), a_survey())) == "would_empty_group"
    assert refused(plan_for(replace(SET, members=(SECOND,)), a_survey())) == "would_empty_group"


@pytest.mark.parametrize("change", [ADD, REMOVE, SET])
def test_a_foreign_lock_is_waited_for(change: object) -> None:
    """Nothing is sent to a group that somebody else has locked: it would fail with a bare 0x0 and be lost."""
    assert isinstance(change, type(ADD))
    assert refused(plan_for(change, a_survey(a_member(), view=LOCKED))) == "locked_by_other"


def test_a_lock_does_not_hinder_what_is_done_already() -> None:
    """The proof of what is so already needs no transaction."""
    planned(plan_for(replace(ADD, members=(SECOND,)), a_survey(view=LOCKED)))


def test_an_unlock_is_planned_whatever_the_contract() -> None:
    """An unlock is needed most where additions do not work any more."""
    planned(plan_for(UNLOCK, a_survey(view=LOCKED, abi="bytes32", native_abi="bytes")))


@pytest.mark.parametrize("abi", ["unusable", None])
def test_a_contract_that_no_besu_runs_is_parked(abi: str | None) -> None:
    """Groups of Besu 1.5.2 and older are unusable (docs/besu.md#versions)."""
    assert refused(plan_for(ADD, a_survey(abi=abi))) == "contract_of_other_version"


@pytest.mark.parametrize(("abi", "native"), [("bytes32", "bytes"), ("bytes", "bytes32")])
def test_a_contract_of_another_line_takes_no_additions_but_removals(abi: str, native: str) -> None:
    """A node recognises only its own version's addition; a removal is a call like any other."""
    assert refused(plan_for(ADD, a_survey(a_member(), abi=abi, native_abi=native))) == "contract_of_other_version"
    assert planned(plan_for(REMOVE, a_survey(abi=abi, native_abi=native))).abi == abi


@pytest.mark.parametrize(
    ("versions", "expected"),
    [(((21, 7, 3), (21, 7, 4)), True), (((21, 7, 4), (22, 4, 4)), False), (((1, 5, 3),) * 2, True)],
)
def test_the_way_back_is_an_empty_addition_before_21_7_4(
    versions: tuple[tuple[int, int, int], tuple[int, int, int]], expected: bool
) -> None:
    """One old node among the members is enough: there `unlock()` fails (docs/besu.md#versions)."""
    survey = a_survey(
        a_member(OLD, besu_version=versions[1]), besu_version=versions[0], abi="bytes32", native_abi="bytes32"
    )
    assert planned(plan_for(replace(ADD, members=(NEW,)), survey)).unlock_by_empty_add is expected


@pytest.mark.parametrize(
    ("version", "validator", "slug"),
    [
        ((25, 5, 0), False, "member_would_not_receive"),
        ((25, 5, 0), None, "member_would_not_receive"),
        ((25, 5, 0), True, None),
        ((25, 4, 1), False, None),
        ((22, 10, 0), False, None),
    ],
)
def test_a_25_5_0_node_that_is_no_validator_is_not_added(
    version: tuple[int, int, int], validator: bool | None, slug: str | None
) -> None:
    """It never receives the group, and the adder would see status 0x1 (docs/besu.md#versions)."""
    found = plan_for(ADD, a_survey(a_member(besu_version=version, validator=validator)))
    assert (found.slug if isinstance(found, Reason) else None) == slug
    if isinstance(found, Reason):
        assert found.members == (NEW,)


def test_a_25_5_0_member_is_no_hindrance_to_others() -> None:
    """Only the added node loses the group; present members and creations receive."""
    old = a_member(SECOND, besu_version=(25, 5, 0))
    planned(plan_for(ADD, a_survey(old, a_member())))
    planned(plan_for(REMOVE, a_survey(old)))
    planned(plan_for(CREATE, a_survey(old, view=no_view(), abi=None, owner=None)))


def a_danger(slug: str, scope: Scope, *members: str) -> Danger:
    return Danger(scope=scope, reason=Reason(slug=slug, members=members))


@pytest.mark.parametrize(
    ("slug", "scope"),
    [
        ("block_not_replayable", Scope.MEMBER),
        ("former_member_unsafe", Scope.MEMBER),
        ("bundle_may_be_torn", Scope.SENDER),
        ("members_differ", Scope.GROUP),
        ("members_undecided", Scope.GROUP),
        ("history_not_read", Scope.MOMENT),
    ],
)
def test_what_is_forecast_to_go_wrong_is_not_begun(slug: str, scope: Scope) -> None:
    """A replay that fails throws inside block import and stops the node for good: nothing is locked for it."""
    members = (NEW,) if scope is Scope.MEMBER else ()
    forecast = a_forecast(a_danger(slug, scope, *members))
    assert refused(plan_for(ADD, a_survey(a_member(), forecast=forecast))) == slug


def test_an_addition_without_a_forecast_is_not_begun() -> None:
    """Nobody looked: members came or went between the survey's reads."""
    assert refused(plan_for(ADD, a_survey(a_member(), forecast=None))) == "history_not_read"


def test_a_forecast_holds_up_additions_only() -> None:
    """Removing the member that differs is the remedy."""
    forecast = a_forecast(a_danger("members_differ", Scope.GROUP, SECOND))
    planned(plan_for(REMOVE, a_survey(forecast=forecast)))
    planned(plan_for(CREATE, a_survey(view=no_view(), abi=None, owner=None, forecast=None)))
    assert refused(plan_for(ADD, a_survey(a_member(), forecast=forecast))) == "members_differ"


def test_another_members_danger_is_not_shared() -> None:
    """A turn is forecast at once; each change is judged by its own members."""
    forecast = a_forecast(a_danger("former_member_unsafe", Scope.MEMBER, "other"))
    planned(plan_for(ADD, a_survey(a_member(), a_member("other"), forecast=forecast)))


def test_the_whole_groups_danger_comes_first() -> None:
    """A member's trouble would split the turn; what concerns all does not go away by that."""
    forecast = a_forecast(
        a_danger("former_member_unsafe", Scope.MEMBER, NEW), a_danger("members_undecided", Scope.GROUP, OLD, SECOND)
    )
    assert refused(plan_for(ADD, a_survey(a_member(), forecast=forecast))) == "members_undecided"


def test_a_new_members_node_that_is_down_is_waited_for() -> None:
    """Nothing is known of what it holds, and nothing else is asked of it first."""
    found = plan_for(ADD, a_survey(a_member(head=None, besu_version=None, validator=None)))
    assert refused(found) == "node_unreachable"


def test_a_new_members_node_that_lags_is_waited_for() -> None:
    """It would replay late, or is in trouble."""
    assert refused(plan_for(ADD, a_survey(a_member(head=4)))) == "node_behind"
    planned(plan_for(ADD, a_survey(a_member(head=5))))


def test_a_member_without_a_node_of_ours_is_added_blindly() -> None:
    """Nothing can be known of it; the proof will name it as unobserved."""
    planned(plan_for(ADD, a_survey(a_member(node=None, head=None, besu_version=None))))


def test_members_of_two_lines_of_besu_are_not_extended() -> None:
    """The addition of one line is none to the other: its nodes would diverge (docs/besu.md#versions)."""
    found = plan_for(ADD, a_survey(a_member(SECOND, besu_version=(22, 7, 0)), a_member()))
    assert refused(found) == "mixed_versions"
    assert isinstance(found, Reason)
    assert found.members == (SECOND,)
    created = a_survey(a_member(SECOND, besu_version=(22, 7, 0)), view=no_view(), abi=None, owner=None)
    assert refused(plan_for(CREATE, created)) == "mixed_versions"


def test_a_member_of_another_line_can_be_removed() -> None:
    """That is the remedy."""
    planned(plan_for(REMOVE, a_survey(a_member(SECOND, besu_version=(22, 7, 0)))))


def test_another_changes_new_member_is_no_hindrance() -> None:
    """A turn is surveyed at once; each change is judged by its own members."""
    stranger = a_member("other", besu_version=(22, 7, 0))
    planned(plan_for(ADD, a_survey(a_member(), stranger)))


@pytest.mark.parametrize("change", [ADD, REMOVE, SET, CREATE, UNLOCK])
def test_nothing_is_locked_for_an_enclave_that_is_down(change: Change) -> None:
    """A send goes through the enclaves of all members and fails after 5 s, perhaps with the group locked before it."""
    view, abi = (no_view(), None) if change is CREATE else (LOCKED if change is UNLOCK else a_view(), "bytes")
    survey = a_survey(
        a_member(OLD), a_member(SECOND, enclave_trouble="its enclave is away"), a_member(), view=view, abi=abi
    )
    found = plan_for(change, survey)
    assert isinstance(found, Reason)
    assert (found.slug, found.members) == ("enclave_unreachable", (SECOND,))
    assert "second's node: its enclave is away" in found.detail


def test_an_enclave_that_is_down_does_not_hinder_what_is_done_already() -> None:
    """The proof needs no send; who is not concerned does not matter either."""
    down = a_member(SECOND, enclave_trouble="its enclave is away")
    planned(plan_for(replace(ADD, members=(SECOND,)), a_survey(down)))
    planned(plan_for(ADD, a_survey(a_member(), a_member("stranger", enclave_trouble="its enclave is away"))))


def test_an_addition_is_planned_with_what_bundling_took_last() -> None:
    """The group stays locked for so long; a removal bundles nothing, and a new group has no history."""
    assert planned(plan_for(ADD, a_survey(a_member(), bundling_seconds=5.2))).bundling_seconds == 5.2
    assert planned(plan_for(REMOVE, a_survey(bundling_seconds=5.2))).bundling_seconds is None
    fresh = a_survey(view=no_view(), abi=None, owner=None, bundling_seconds=5.2)
    assert planned(plan_for(CREATE, fresh)).bundling_seconds is None


@pytest.mark.parametrize("kind", [Kind.ADD_MEMBERS, Kind.CREATE_GROUP, Kind.SET_MEMBERS])
def test_keys_that_the_contract_can_not_hold_are_refused_before_anything_is_sent(kind: Kind) -> None:
    """An EC key for a group of the old dialect fails the change in preflight, where nothing is locked yet."""
    ec_key, creates = "M" * 124, kind is Kind.CREATE_GROUP
    change = a_change("ec", kind=kind, members=(OLD, ec_key))
    member = a_member(ec_key, besu_version=(22, 4, 4))

    def survey(dialect: str, version: tuple[int, int, int]) -> Surveyed:
        view, abi, owner = (no_view(), None, None) if creates else (a_view(), dialect, True)
        seen_by = replace(member, besu_version=version)
        return a_survey(seen_by, view=view, abi=abi, owner=owner, native_abi=dialect, besu_version=version)

    assert refused(plan_for(change, survey("bytes32", (22, 4, 4)))) == "enclave_key_too_long"
    assert ec_key in planned(plan_for(change, survey("bytes", (22, 10, 0)))).to_add


def test_a_member_with_a_group_of_its_own_under_the_id_is_not_added() -> None:
    """Whoever gave the id twice has to choose another one: no state of anybody is given up for it."""
    found = plan_for(ADD, a_survey(a_member(of_another_group=True)))
    assert isinstance(found, Reason)
    assert (found.slug, rule_of(found).judgement) == ("group_id_taken", Judgement.PARK)
    assert "another id" in describe(found)
