"""One example of each type of status event, as documents; the reference and AsyncAPI show them. Pure."""

from typing import Final

from orchestrator.events.documents.envelope import PLACE_DIGITS
from orchestrator.membership.damage.standstill import AHEAD_REMEDY, REMEDIES, Hold
from orchestrator.membership.news.status import EventType, Json, reason_data
from orchestrator.membership.reasons.table import Reason

_SOURCE: Final = "urn:uuid:3f1c9f0e-8f55-4d0b-9d5c-0c1d2e3f4a5b"
_GROUP: Final = "DyAOiF/ynpc+JXa2YAGB0bCitSlOMNm+ShmB/7M6C4w="
_OLD: Final = "A1aVtMxLCUHmBVHXoZzzBgPbW/wj5axDpW9X8l91SGo="
_SENDER: Final = "Ko2bVqD+nNlNYL5EE7y3IdOnviftjiizpjRt+HTuFBs="
_NEW: Final = "k2zXEin4Ip/qBGlRkJejnGWdP9cjkK+DAvKNW31L2C8="
_ACCOUNT: Final = "0xFE3B557E8Fb62b89F4916B721be55cEb828dBd73"
_VERSION: Final = "0x6c1ed9ad3f6a5ec4bd1d5f9f0a2f3f6c4a3c2b1a09f8e7d6c5b4a39281706f5e"
_NEW_VERSION: Final = "0x2f0c4e9a1b7d3856e4c2a0f9d8b7c6a5948372615f4e3d2c1b0a9f8e7d6c5b4a"
_ROOT: Final = "0x9d3f7b1a5c8e2460f1e3d5c7b9a8f6e4d2c0b1a39587e6f4d3c2b1a0f9e8d7c6"
_OTHER_ROOT: Final = "0x41c6b8d0e2f4a6c8b0d2e4f6a8c0b2d4e6f8a0c2b4d6e8f0a2c4b6d8e0f2a4c6"
_HASH: Final = "0x5b8f0e2d4c6a8b0f1e3d5c7a9b8f6e4d2c0a1b3958f7e6d4c3b2a1f0e9d8c7b6"

_CHANGE: Final[dict[str, Json]] = {
    "kind": "add_members",
    "members": [_NEW],
    "account": _ACCOUNT,
}
_EFFECT: Final[dict[str, Json]] = {
    "block_number": 2048,
    "block_hash": _HASH,
    "version": _NEW_VERSION,
    "state_root": _ROOT,
    "participants": [_OLD, _SENDER, _NEW],
}


def _progress(verdict: str, replayed: int, head: int, through: int | None) -> dict[str, Json]:
    return {
        "member": _NEW,
        "verdict": verdict,
        "blocks_replayed": replayed,
        "blocks_total": 812,
        "blocks_per_second": 41.5 if verdict == "replaying" else None,
        "remaining_seconds": round((812 - replayed) / 41.5, 1) if verdict == "replaying" else None,
        "head": head,
        "in_sync_through": through,
        "attested_by": None,
    }


_JOIN: Final[dict[str, Json]] = {
    "member": _NEW,
    "node": "member3",
    "members": [_OLD, _SENDER, _NEW],
    "reference": _OLD,
}

_DATA: Final[dict[EventType, dict[str, Json]]] = {
    EventType.CHANGE_ACCEPTED: _CHANGE | {"state": "queued"},
    EventType.CHANGE_STARTED: _CHANGE | {"state": "preflight", "previous_state": "queued"},
    EventType.CHANGE_PROGRESSED: _CHANGE
    | {
        "state": "replaying",
        "previous_state": "replaying",
        "effect": _EFFECT,
        "progress": [_progress("replaying", 377, 2047, None)],
    },
    EventType.CHANGE_SUCCEEDED: _CHANGE
    | {
        "state": "succeeded",
        "previous_state": "replaying",
        "effect": _EFFECT,
        "progress": [_progress("in_sync", 812, 2056, 2056)],
        "unobserved": [],
        "attested": [],
        "independent": True,
    },
    EventType.CHANGE_FAILED: _CHANGE
    | {
        "state": "failed",
        "previous_state": "preflight",
        "unobserved": [],
        "attested": [],
        "reason": {
            "slug": "not_owner",
            "detail": f"{_ACCOUNT} is not the owner",
            "message": f"The account does not own the group ({_ACCOUNT} is not the owner).",
            "remedy": "Use the account that created the group; only that one may change it.",
            "members": [],
        },
    },
    EventType.CHANGE_PARKED: _CHANGE
    | {
        "state": "parked",
        "previous_state": "replaying",
        "effect": _EFFECT,
        "progress": [_progress("missing", 0, 2056, None)],
        "reason": {
            "slug": "member_missing",
            "detail": "node member3 has no state for the group at block 2056",
            "message": "A member's node lost the group (node member3 has no state for the group at block 2056).",
            "remedy": "The member's node lost the group: remove the member and add it again.",
            "members": [_NEW],
        },
    },
    EventType.CHANGE_CANCELLED: _CHANGE
    | {"state": "cancelled", "previous_state": "queued", "unobserved": [], "attested": []},
    EventType.REQUEST_REJECTED: {
        "field": "data.members.0",
        "message": "must be an enclave key: canonical base64 of 32 bytes (NaCl) or 91 bytes (EC)",
    },
    EventType.GROUP_LOCKING: {},
    EventType.GROUP_LOCKED: {"block_number": 2047},
    EventType.GROUP_UNLOCKED: {
        "locked_since_block": 2047,
        "locked_blocks": 1,
        "version": _NEW_VERSION,
        "block_number": 2048,
        "block_hash": _HASH,
    },
    EventType.GROUP_MEMBERS_CHANGED: {
        "participants": [_OLD, _SENDER, _NEW],
        "added": [_NEW],
        "removed": [],
        "version": _NEW_VERSION,
        "block_number": 2048,
        "block_hash": _HASH,
    },
    EventType.GROUP_DIVERGED: {
        "block_number": 2310,
        "first_block": 2049,
        "reference": _OLD,
        "state_root": _ROOT,
        "members": [_OLD, _SENDER, _NEW],
        "differing": [
            {
                "member": _NEW,
                "node": "member3",
                "verdict": "diverged",
                "state_root": _OTHER_ROOT,
                "lacks": [_OTHER_ROOT],
            }
        ],
        "undecided": False,
        "other_groups": [],
    },
    EventType.GROUP_CONVERGED: {"block_number": 2544, "state_root": _ROOT, "members": [_OLD, _SENDER, _NEW]},
    EventType.GROUP_UNEXTENDABLE: {
        "block_number": 2310,
        "block_hash": _HASH,
        "flaws": [
            {
                "flaw": "account_twice",
                "account": "0xf17f52151ebef6c7334fad080c5704d77216b732",
                "transactions": [_ROOT, _OTHER_ROOT],
            }
        ],
        "reason": reason_data(
            Reason(
                slug="block_not_replayable",
                detail="block 2310: account 0xf17f52151ebef6c7334fad080c5704d77216b732 has 2 transactions in it",
            )
        ),
    },
    EventType.GROUP_GUARDED: {
        "node": "member3",
        "member": _NEW,
        "outcome": "refused",
        "history_key": "5xf1quvp8gxZRvpSv54FMHO9Rsq37DAvNBe25ojxKNo=",
        "head": 2310,
        "owner": "0xfe3b557e8fb62b89f4916b721be55ceb828dbd73",
        "sent_by": _SENDER,
        "rule": "block_not_replayable",
        "detail": "block 2290: account 0xf17f52151ebef6c7334fad080c5704d77216b732 has 2 transactions in it",
    },
    EventType.GROUP_ADDITION_REPEATED: {
        "block_number": 2544,
        "transaction": _OTHER_ROOT,
        "sender": "0xf17f52151ebef6c7334fad080c5704d77216b732",
        "first_block": 2051,
        "first_transaction": _HASH,
        "affected": [
            {
                "node": "member3",
                "member": _NEW,
                "state_root": _OTHER_ROOT,
                "other_root": _ROOT,
                "fell_back": True,
            }
        ],
        "cure": [_NEW],
        "through": "member2",
    },
    EventType.NODE_STANDING_STILL: {
        "node": "member3",
        "head": 2046,
        "newest_head": 2110,
        "since": "2026-11-23T13:40:02+00:00",
        "hold": Hold.PEERS.value,
        "detail": "it has no peers; block 2047 holds 1 private transaction(s), 0 of them with a history",
        "remedy": REMEDIES[Hold.PEERS],
    },
    EventType.NODE_MOVING: {"node": "member3", "head": 2161},
    EventType.NODE_AHEAD: {"node": "member3", "head": 99161, "newest_head": 2161, "remedy": AHEAD_REMEDY},
    EventType.GROUP_ADDITION_UNEXPECTED: {
        "block_number": 2544,
        "transaction": _OTHER_ROOT,
        "sender": "0xf17f52151ebef6c7334fad080c5704d77216b732",
        "refused_by": ["member2"],
        "executed_by": ["member1"],
        "affected": [
            {
                "node": "member1",
                "member": _SENDER,
                "state_root": _OTHER_ROOT,
                "other_root": _ROOT,
                "fell_back": False,
            }
        ],
        "cure": [_SENDER],
        "through": "member2",
    },
    EventType.GROUP_JOINING: _JOIN | {"progress": [_progress("replaying", 304, 2047, None)]},
    EventType.GROUP_JOINED: _JOIN | {"progress": [_progress("in_sync", 812, 2051, 2051)]},
}

_ABOUT_NODES: Final = frozenset({EventType.NODE_STANDING_STILL, EventType.NODE_MOVING, EventType.NODE_AHEAD})

_WITHOUT_CHANGE: Final = frozenset(
    {
        EventType.REQUEST_REJECTED,
        EventType.GROUP_DIVERGED,
        EventType.GROUP_CONVERGED,
        EventType.GROUP_UNEXTENDABLE,
        EventType.GROUP_GUARDED,
        EventType.GROUP_ADDITION_REPEATED,
        EventType.GROUP_ADDITION_UNEXPECTED,
        EventType.GROUP_JOINING,
        EventType.GROUP_JOINED,
        *_ABOUT_NODES,
    }
)


def example(event_type: EventType) -> dict[str, Json]:
    """Return an example of a type of event: a whole CloudEvents document."""
    place = list(EventType).index(event_type) + 1
    about_change = event_type not in _WITHOUT_CHANGE
    asked = about_change or event_type is EventType.REQUEST_REJECTED
    ids: dict[str, Json] = {
        "privacy_group_id": None if event_type in _ABOUT_NODES else _GROUP,
        "change_id": "01JD9Q4T6W2V8B3K5M7N9P1R3S" if about_change else None,
        "request_id": "add-member3-2026-11-23" if asked else None,
        "sequence": place,
    }
    return {
        "specversion": "1.0",
        "id": f"b6f8c1de-3f5a-5c7e-9a1b-2c4d6e8f0a{place:02x}",
        "source": _SOURCE,
        "type": event_type.value,
        "time": f"2026-11-23T13:45:{place:02d}.250000Z",
        "datacontenttype": "application/json",
        "sequence": f"{place + 40:0{PLACE_DIGITS}d}",
        "formerid": f"0d3e5f60-3f5a-5c7e-9a1b-2c4d6e8f0a{place:02x}",
        "data": ids | _DATA[event_type],
        **({} if event_type in _ABOUT_NODES else {"subject": _GROUP}),
    }
