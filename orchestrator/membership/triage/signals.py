"""What a fact means for a change in its state: the second key of the table in `machine`."""

from enum import StrEnum


class Signal(StrEnum):
    """Read from a fact by `reading.read`, looked up in `machine.TRANSITIONS`."""

    CLAIMED = "claimed"
    CAN_CREATE = "can create"
    CAN_ADD = "can add"
    CAN_REMOVE = "can remove"
    CAN_UNLOCK = "can unlock"
    NOTHING_TO_DO = "nothing to do"
    NOTED = "noted"
    DONE = "done"
    MORE_TO_REMOVE = "more to remove"
    UNDO = "undo"
    ADDED_AFTER_ALL = "added after all"
    UNDONE_RETRY = "undone, retry"
    UNDONE_FAIL = "undone, fail"
    UNDONE_PARK = "undone, park"
    PROVEN = "proven"
    LOCK_ROLLED_BACK = "lock rolled back"
    CREATE_ROLLED_BACK = "create rolled back"
    ADD_ROLLED_BACK = "add rolled back"
    REMOVE_ROLLED_BACK = "remove rolled back"
    UNLOCK_ROLLED_BACK = "unlock rolled back"
    LOOK_ANEW = "look anew"
    RETRY = "retry"
    FAIL = "fail"
    PARK = "park"
    CANCEL = "cancel"
