"""What members' nodes of our own show of a group whose history came from elsewhere.

Whether a replay reaches the roots in a bundle only the replay shows, and whoever makes one by hand may write the right
roots beside other transactions. A member's node has executed the history itself: it shows both
(docs/besu.md#what-a-replay-needs, 12).
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from orchestrator.besu.codec.answers import optional, read_address, read_signature
from orchestrator.besu.codec.json_rpc import Call
from orchestrator.besu.errors import BesuError
from orchestrator.besu.transport.http_client import HttpNode
from orchestrator.engine.nodes.fleet import Fleet
from orchestrator.engine.nodes.watcher import ChainWatcher
from orchestrator.engine.ports.nodes import NodeError
from orchestrator.membership.forecast.histories import GroupHistory
from orchestrator.membership.guard.judgement import Witnessed
from orchestrator.membership.guard.received_bundles import BundledCall, ReceivedBundle
from orchestrator.membership.reasons.table import Reason

MOST_WITNESSES: Final = 3
"""Other nodes of ours that are asked whether a bundle is what the group was."""


class Witnesses:
    """Members' nodes of ours, other than the guarded one.

    Args:
        fleet: All nodes.
        guarded: The guarded one.
        https: By name, for what only JSON-RPC tells.
        needed: Tells whether a bundle that none of them confirms is refused: then one that does not answer is waited
            for.
    """

    def __init__(
        self,
        fleet: Fleet,
        guarded: ChainWatcher,
        https: Mapping[str, HttpNode],
        needed: Callable[[ReceivedBundle], bool] = lambda _bundle: False,
    ) -> None:
        self._needed = needed
        self._fleet = fleet
        self._guarded = guarded
        self._https = dict(https)

    async def witnessed(self, bundle: ReceivedBundle, history: GroupHistory) -> Witnessed:
        """Return what they show of a bundle; one that does not answer, or is behind, shows nothing.

        Args:
            bundle: The bundle.
            history: The same by blocks.

        Raises:
            NodeError: One of them does not answer, and what it shows is needed.
        """
        seeing = dict.fromkeys(w for key in bundle.members if (w := self._fleet.hosting(key)) is not None)
        others = [watcher for watcher in seeing if watcher is not self._guarded][:MOST_WITNESSES]
        said = await asyncio.gather(*(self._shown(watcher, bundle, history) for watcher in others))
        trouble = next((one.trouble for one in said if isinstance(one, Witnessed) and one.trouble is not None), None)
        confirmed = any(isinstance(one, Witnessed) and one.confirmed for one in said)
        silent = next((one for one in said if isinstance(one, NodeError)), None)
        if self._needed(bundle) and silent is not None and trouble is None and not confirmed:
            raise silent
        return Witnessed(trouble=trouble, confirmed=trouble is None and confirmed)

    async def _shown(
        self, watcher: ChainWatcher, bundle: ReceivedBundle, history: GroupHistory
    ) -> Witnessed | NodeError:
        name = watcher.node.name
        roots = [block.state_root for block in history.blocks]
        # At the group's own blocks the node's record of the block answers, whatever its maps say; torn bundles show
        # right before them (docs/besu.md#torn-bundles, 1).
        before = [block.number - 1 for block in history.blocks[1:]]
        try:
            if (await watcher.refresh()).number < history.through:
                return NodeError(Reason(slug="node_behind", detail=f"node {name} has not block {history.through} yet"))
            views = await watcher.node.roots(history.privacy_group_id, [*before, history.through])
            others = await self._other_transaction(name, bundle.calls)
        except NodeError as error:
            return error
        except BesuError as error:
            return NodeError(Reason(slug="node_unreachable", detail=f"node {name}: {error}"))
        # A root of the history at another place is a damaged map of that node's, and says nothing of the history.
        odd = next((view for view in views if view.exists and view.state_root not in roots), None)
        if odd is not None:
            what = f"a state at block {odd.block_number} that the history does not go through"
            return Witnessed(trouble=f"node {name} shows {what}")
        if others:
            return Witnessed(trouble=f"node {name} shows another transaction for marker {others}")
        # All of it or nothing: a bundle that was made by hand may be right but for one transaction.
        return Witnessed(confirmed=others is not None and [view.state_root for view in views] == roots)

    async def _other_transaction(self, name: str, calls: Sequence[BundledCall]) -> str | None:
        """Return the marker of which a node shows another transaction; empty text for none, None when it lacks some."""
        http = self._https.get(name)
        if http is None:
            return None
        answers = await http.batch([Call("priv_getPrivateTransaction", (call.pmt_hash,)) for call in calls])
        shown = [optional(_signed, answer.result) if answer.error is None else None for answer in answers]
        seen = [(call, found) for call, found in zip(calls, shown, strict=True) if found is not None]
        other = next((call.pmt_hash for call, found in seen if found != (call.account, call.signature)), None)
        return other or ("" if len(seen) == len(calls) else None)


def _signed(value: Any) -> tuple[str, tuple[int, int]]:
    """Who signed a private transaction, and the signature: of another content it would be somebody else's."""
    return read_address(value.get("from") if isinstance(value, Mapping) else None), read_signature(value)
