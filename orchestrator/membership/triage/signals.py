"""What was observed, in the words of a change: the second key of the table in `machine`."""

from enum import StrEnum


class Signal(StrEnum):
    """Read from a fact by `triage.facts.read`, looked up in `machine.TRANSITIONS`.

    Each says what is so, none what is to be done: that is the table's. Of a reason that was met the table of reasons
    (`membership.reasons.table`) says whether it passes, is final or needs a person; how often it may pass is in there.
    """

    # Before anything is sent: how the group is, compared with what is asked for.
    CLAIMED = "claimed"
    NO_GROUP = "no such group yet"
    MEMBERS_MISSING = "members missing"
    MEMBERS_TO_GO = "members to go"
    LOCKED = "locked"
    OWN_LOCK_FOUND = "a lock of ours found"
    AS_ASKED = "as asked already"

    # Of an attempt: what the blocks hold of it.
    UNDECIDED = "undecided"
    EXECUTED = "executed"
    MORE_TO_GO = "executed, more to go"
    TO_BE_ADDED_AGAIN = "executed, to be added again"
    NOT_EXECUTED = "not executed"
    ADDED_AFTER_ALL = "added after all"
    GROUP_SPLIT = "executed by some members only"

    # Under a lock of ours, beside the attempt.
    GROUP_MOVED = "group moved"
    GIVES_WAY = "another addition first"

    # Of the lock, once it is undone.
    UNLOCKED_PASSING = "unlocked, reason passes"
    UNLOCKED_FINAL = "unlocked, reason is final"
    UNLOCKED_FOR_A_PERSON = "unlocked, reason needs a person"

    # Of the proof.
    PROVEN = "proven"
    TROUBLE_SEEN = "trouble seen"
    FOUND_OTHERWISE = "found otherwise"

    # Of a reorganisation.
    LOCK_ROLLED_BACK = "lock rolled back"
    CREATE_ROLLED_BACK = "create rolled back"
    ADD_ROLLED_BACK = "add rolled back"
    REMOVE_ROLLED_BACK = "remove rolled back"
    UNLOCK_ROLLED_BACK = "unlock rolled back"

    # Of a reason that was met.
    MET_PASSING = "met what passes"
    MET_FINAL = "met what is final"
    MET_FOR_A_PERSON = "met what needs a person"

    # Of the clock and of persons.
    DEADLINE_PASSED = "deadline passed"
    DEADLINE_PASSED_LOCKED = "deadline passed, perhaps locked"
    CANCEL_ASKED = "cancel asked"
    CLOSE_ASKED = "cancel asked, nothing left of it"
    PARK_ASKED = "park asked"
    RETRY_ASKED = "retry asked"
