"""What preflight and the proof see, with everything that does not matter filled in."""

from dataclasses import replace
from typing import Any

from orchestrator.membership.facts import ConvergenceObserved, MemberSurvey, Sighting, Surveyed
from orchestrator.membership.forecast.senders import Bundle, SenderStanding
from orchestrator.membership.forecast.verdict import Danger, Forecast
from orchestrator.membership.model import Effect, GroupView, Plan

OLD = "old"
"""The enclave key of the member whose node is sent through."""
SECOND = "second"
NEW = "new"


def a_view(block_number: int = 10, participants: tuple[str, ...] = (OLD, SECOND), **fields: Any) -> GroupView:
    """The group of two at a block, unlocked."""
    values: dict[str, Any] = {
        "block_number": block_number,
        "exists": True,
        "participants": participants,
        "version": "0x01",
        "state_root": f"root at {block_number}",
    }
    return GroupView(**values | fields)


def no_view(block_number: int = 10) -> GroupView:
    """No group at a block."""
    return GroupView(block_number=block_number, exists=False)


def a_survey(*members: MemberSurvey, **fields: Any) -> Surveyed:
    """A healthy node of the group at block 10, whose network is on Besu 23.10.3."""
    values: dict[str, Any] = {
        "node": "node1",
        "head": 10,
        "head_hash": "block 10",
        "newest_head": 10,
        "syncing": False,
        "view": a_view(),
        "abi": "bytes",
        "native_abi": "bytes",
        "besu_version": (23, 10, 3),
        "owner": True,
        "sender_key": OLD,
        "members": members,
        "forecast": a_forecast(),
    }
    return Surveyed(**values | fields)


def a_forecast(*dangers: Danger) -> Forecast:
    """An addition that is safe but for these dangers."""
    sender = SenderStanding(enclave_key=OLD, node="node1", bundle=Bundle.FIRST_HAND)
    return Forecast(
        privacy_group_id="group", block_number=10, block_hash="block 10", sender=sender, dangers=tuple(dangers)
    )


def a_member(enclave_key: str = NEW, **fields: Any) -> MemberSurvey:
    """A key whose node is ours, healthy, and has no state for the group."""
    values: dict[str, Any] = {
        "enclave_key": enclave_key,
        "node": f"{enclave_key}'s node",
        "head": 10,
        "besu_version": (23, 10, 3),
        "validator": False,
    }
    return MemberSurvey(**values | fields)


def a_plan(**fields: Any) -> Plan:
    """The plan to add one member to the group of two."""
    values: dict[str, Any] = {
        "node": "node1",
        "abi": "bytes",
        "to_add": (NEW,),
        "to_remove": (),
        "participants": (OLD, SECOND),
        "version": "0x01",
        "unlock_by_empty_add": False,
        "first_block": 10,
    }
    return Plan(**values | fields)


def an_effect(block_number: int = 12, participants: tuple[str, ...] = (OLD, SECOND, NEW), **fields: Any) -> Effect:
    """The group as it was asked for, at a block."""
    view = a_view(block_number, participants, **fields)
    return Effect(block_number=block_number, block_hash=f"block {block_number}", view=view)


def seen(enclave_key: str, *blocks: int, effect: Effect, **fields: Any) -> Sighting:
    """A member's node that shows the true state at these blocks."""
    views = tuple(replace(effect.view, block_number=b, state_root=f"root at {b}") for b in blocks)
    values: dict[str, Any] = {
        "enclave_key": enclave_key,
        "node": f"{enclave_key}'s node",
        "head": max(blocks, default=effect.block_number - 1),
        "views": views,
    }
    return Sighting(**values | fields)


def observed(*sightings: Sighting, effect: Effect, head: int, **fields: Any) -> ConvergenceObserved:
    """Sightings while the effect's block is on the chain; the proof needs two further blocks."""
    values: dict[str, Any] = {
        "effect_block_hash": effect.block_hash,
        "head": head,
        "sightings": sightings,
        "proof_blocks": 2,
        "confirmations": 0,
    }
    return ConvergenceObserved(**values | fields)
