"""What replays do to nodes' head maps, told anew and as plainly as possible: what the devnet's nodes are held to.

A map per block is a dict of its own here, and a state is a value; nothing is shared, nothing is fast.
"""

from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class GroupValue:
    """A group's state: two are equal exactly when nodes show equal roots."""

    members: tuple[str, ...] = ()
    locked: bool = True
    version: object = None
    owner_count: int = 0
    written: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class Sent:
    """A private transaction as it was submitted, with what the enclaves got then.

    Attributes:
        group, kind: of which group; create, write, lock, unlock, add, remove.
        keys: who is added or removed.
        sender: node whose key is its privateFrom.
        head: of the sender's node at submission.
        count: the owner's private nonce that it was signed with.
        version: of the group, as the sender's node saw it.
        audience: nodes whose enclaves hold it.
        bundle: an addition's history; none when the sender's node had none.
        serial: of application data.
    """

    group: str
    kind: str
    keys: tuple[str, ...]
    sender: str
    head: int
    count: int
    version: object
    audience: frozenset[str]
    bundle: tuple["Done", ...]
    serial: int

    @property
    def bundle_holders(self) -> frozenset[str]:
        """Nodes whose enclaves hold the bundle."""
        return frozenset((self.sender, *self.keys)) if self.bundle else frozenset()


@dataclass(frozen=True, eq=False)
class Marker:
    """One mined pointer to a private transaction."""

    sent: Sent


@dataclass(frozen=True)
class Done:
    """A stored transaction: the marker and the state after it."""

    marker: Marker
    after: GroupValue


@dataclass(frozen=True)
class MinedBlock:
    """A block: its markers in order, and whether its public transactions stand each alone on the parent."""

    markers: tuple[Marker, ...]
    replayable: bool = True


class StandsForGoodError(Exception):
    """A replay failed: the node imports nothing any more."""


def runs(value: GroupValue, sent: Sent, block: int) -> GroupValue | None:
    """Run a transaction's code; None: it fails."""
    if sent.kind == "write":
        return replace(value, written=(*value.written, sent.serial))
    if value.owner_count != sent.count or value.locked is not (sent.kind in ("create", "add", "unlock")):
        return None
    counted = replace(value, owner_count=value.owner_count + 1)
    if sent.kind in ("lock", "unlock"):
        return replace(counted, locked=sent.kind == "lock")
    members = list(value.members)
    if sent.kind == "remove":
        for key in sent.keys:
            if key in members:
                members[members.index(key)] = members[-1]
                members.pop()
    else:
        members += [key for key in sent.keys if key not in members]
    return replace(counted, members=tuple(members), locked=False, version=(block, tuple(members)))


def admits(value: GroupValue, sent: Sent) -> bool:
    """Whether a node runs a transaction of a block at all: by lock, version, and sender."""
    adds = sent.kind in ("create", "add")
    if (value.locked and sent.kind == "write") or (adds and not value.locked):
        return False
    members = value.members or (sent.keys if adds else ())
    return value.version == sent.version and sent.sender in members


@dataclass
class ModelNode:
    """One node: a map per block, stored transactions by block and group, and bundles it was added with.

    Attributes:
        odd: that it met something which a model without private nonces, versions or former lives judges otherwise.
    """

    name: str
    maps: list[dict[str, int]] = field(default_factory=lambda: [{}])
    stored: dict[tuple[int, str], list[Done]] = field(default_factory=dict)
    added_with: dict[str, tuple[Done, ...]] = field(default_factory=dict)
    stands: bool = False
    odd: bool = False

    @property
    def head(self) -> int:
        """Number of the newest imported block."""
        return len(self.maps) - 1

    def value_at(self, group: str, block: int) -> GroupValue | None:
        """What the node answers for a block: the block's own transactions first, then the map."""
        found = self.stored.get((block, group)) or self._mapped(self.maps[block], group)
        return found[-1].after if found else None

    def bundle(self, group: str) -> tuple[Done, ...]:
        """The history that the node would send for an addition now."""
        walked: list[Done] = []
        block = self.maps[self.head].get(group)
        while block is not None:
            walked[:0] = self.stored[block, group]
            block = self.maps[block - 1].get(group)
        first = self.added_with.get(group, ()) if walked else ()
        return (*first, *walked[len(first) :])

    def take(self, chain: list[MinedBlock]) -> None:
        """Import the newest block of a chain; ``chain[0]`` is the genesis block."""
        if self.stands:
            return
        block, number = chain[-1], len(chain) - 1
        try:
            for marker in block.markers:
                if self.name in marker.sent.bundle_holders:
                    self._replay(chain, marker.sent)
        except StandsForGoodError:
            self.stands = True
            return
        heads, news = dict(self.maps[-1]), dict[str, list[Done]]()
        for marker in block.markers:
            sent = marker.sent
            if self.name not in sent.audience:
                continue
            before = news.get(sent.group) or self._mapped(heads, sent.group)
            value = before[-1].after if before else GroupValue()
            after = runs(value, sent, number) if admits(value, sent) else None
            self.odd |= (after is not None) is not _admits_by_lock_alone(value, sent)
            if after is not None:
                heads[sent.group] = number
                news.setdefault(sent.group, []).append(Done(marker, after))
        self.maps.append(heads)
        self.stored.update({(number, group): done for group, done in news.items()})

    def _mapped(self, heads: dict[str, int], group: str) -> list[Done]:
        return self.stored[heads[group], group] if group in heads else []

    def _replay(self, chain: list[MinedBlock], sent: Sent) -> None:
        group, missing = sent.group, sent.bundle
        own = self._mapped(self.maps[-1], group)
        if own:
            if own[-1].after == missing[-1].after:
                return
            known = [done.marker for done in missing]
            if own[-1].marker in known:
                missing = missing[known.index(own[-1].marker) + 1 :]
        if not missing:
            return
        places = {marker: number for number, block in enumerate(chain) for marker in block.markers}
        wanted = {done.marker for done in missing}
        numbers = list(dict.fromkeys(places[done.marker] for done in missing))
        for number, following in zip(numbers, [*numbers[1:], len(self.maps)], strict=True):
            if chain[number].replayable:
                self._replay_block(chain[number], number, group, wanted)
            elif (number, group) in self.stored:
                self.odd = True
            else:
                raise StandsForGoodError
            if self.stored[number, group][-1].after != [d for d in missing if places[d.marker] == number][-1].after:
                raise StandsForGoodError
            for between in range(number + 1, following):
                self.maps[between][group] = number
        self.added_with[group] = sent.bundle

    def _replay_block(self, block: MinedBlock, number: int, group: str, wanted: set[Marker]) -> None:
        heads = dict(self.maps[number - 1])
        before = self._mapped(heads, group)
        value, news = before[-1].after if before else GroupValue(), list[Done]()
        for marker in block.markers:
            if marker in wanted:
                after = runs(value, marker.sent, number)
                self.odd |= after is None
                value = value if after is None else after
                news.append(Done(marker, value))
        self.maps[number] = heads | {group: number}
        self.stored[number, group] = news


def _admits_by_lock_alone(value: GroupValue, sent: Sent) -> bool:
    if not value.members:
        return sent.kind == "create"
    return value.locked is (sent.kind in ("add", "unlock"))
