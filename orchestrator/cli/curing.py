"""``orchestrator cure``: mends a group that a repeated marker split, without the daemon's queue."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli import options
from orchestrator.cli.output import Exit, fail
from orchestrator.cli.running import load

if TYPE_CHECKING:
    from orchestrator.config import Config

AGREE_SECONDS = 300.0


def cure(
    group: options.Group,
    transaction: Annotated[
        str, typer.Option(help="The transaction in which an old addition's marker was mined again.", metavar="HASH")
    ],
    config: options.ConfigFile = options.DEFAULT_CONFIG,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say who fell back and what would be done.")] = False,
) -> None:
    """Mend a group that a repeated addition split: through a member that did not fall back, the others come again."""
    loaded = load(config)
    from orchestrator.app import AccountError
    from orchestrator.besu.identifiers import InvalidIdentifierError, normal_hash, privacy_group_id_to_bytes
    from orchestrator.besu.signers import SignerError
    from orchestrator.engine.node_ports import NodeError
    from orchestrator.guard.cure import CureError

    try:
        privacy_group_id_to_bytes(group)
        pmt_hash = normal_hash(transaction)
    except InvalidIdentifierError as error:
        raise fail(str(error), Exit.USAGE) from None
    try:
        agree = asyncio.run(cured(loaded, group, pmt_hash, dry_run=dry_run, tell=typer.echo))
    except (CureError, NodeError, AccountError, SignerError) as error:
        raise fail(str(error)) from None
    if not agree:
        raise fail("the members do not show one state of the group yet: `orchestrator audit` tells who differs")


async def cured(config: "Config", group: str, pmt_hash: str, *, dry_run: bool, tell: Callable[[str], None]) -> bool:
    """Cure a group; returns whether its members agree then, True for a dry run.

    Args:
        config: The configuration: members' nodes, and the owner's account.
        group: The group.
        pmt_hash: The repetition.
        dry_run: Whether only to look.
        tell: Told what is seen and done, line by line.

    Raises:
        CureError: It can't be cured this way, or a step failed.
        NodeError: A node that is needed does not answer.
        AccountError, SignerError: The owner's key can't be had.
    """
    from orchestrator.app.assembly import connect_nodes, open_account, tls_context
    from orchestrator.besu.groups import FlexiblePrivacyGroups
    from orchestrator.besu.http_client import HttpNode, open_session
    from orchestrator.besu.node import Node
    from orchestrator.besu.tokens import TokenFile
    from orchestrator.engine.clock import SystemClock
    from orchestrator.engine.fleet import Fleet
    from orchestrator.engine.watcher import ChainWatcher
    from orchestrator.guard.cure import CureError, agreeing, carry_out, planned_cure
    from orchestrator.guard.histories import MemoryHistories

    async with AsyncExitStack() as stack:
        by_http = tuple(node.model_copy(update={"ws": None}) for node in config.nodes)
        nodes = await connect_nodes(stack, by_http)
        clock = SystemClock()
        fleet = Fleet([ChainWatcher(node, clock, timedelta(seconds=1)) for node in nodes])
        plan = await planned_cure(fleet, group, pmt_hash, MemoryHistories())
        for name, key in plan.fallen.items():
            tell(f"member {key} on {name} fell back in block {plan.block_number}")
        tell(f"through {plan.through.node.name}: remove and add {', '.join(plan.fallen.values())}")
        if dry_run:
            return True
        owners = [a for a in config.accounts if await plan.through.node.owns(group, a.address) is True]
        if not owners:
            raise CureError(f"none of accounts owns group {group}: nothing was changed")
        signer = await asyncio.to_thread(open_account, owners[0])
        chosen = next(node for node in config.nodes if node.name == plan.through.node.name)
        session = await stack.enter_async_context(open_session())
        token = TokenFile(chosen.token_file) if chosen.token_file is not None else None
        tls = tls_context(str(chosen.ca_file)) if chosen.ca_file is not None else None
        sender = Node(HttpNode(session, chosen.http, token=token, tls=tls), name=chosen.name, version=chosen.version)
        groups = FlexiblePrivacyGroups(
            sender, signer, enclave_key=chosen.enclave_keys[0], gas_price=config.chain.gas_price
        )
        await carry_out(plan, groups, tell)
        agree = await agreeing(fleet, plan, AGREE_SECONDS, clock)
        if agree:
            tell("the members agree")
        return agree
