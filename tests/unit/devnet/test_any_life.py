"""Whatever happens to a group, its members stay in step."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from orchestrator.devnet.errors import RpcError
from tests.unit.devnet.driving import OWNER, Driver

NODES = 5
OTHERS = st.integers(min_value=2, max_value=NODES)


class GroupLife(RuleBasedStateMachine):
    """A group of node 1 and others, with enclaves and nodes that come and go."""

    def __init__(self) -> None:
        super().__init__()
        self.driver = Driver(nodes=NODES, validators=1, replay_ms_per_transaction=10, bundle_ms_per_transaction=0)
        self.driver.create(1, 2)
        self.down: set[int] = set()

    def members(self) -> set[int]:
        keys = self.driver.members(1)
        return {node for node in range(1, NODES + 1) if self.driver.keys[node - 1] in keys}

    def attempt(self, change: object, *arguments: int) -> None:
        """Do what may be refused because an enclave is down."""
        assert callable(change)
        try:
            change(*arguments)
        except RpcError as error:
            if error.message != "Error communicating with enclave":
                raise

    @rule()
    def write(self) -> None:
        self.attempt(self.driver.write)

    @rule()
    def lock(self) -> None:
        self.attempt(self.driver.lock)

    @rule()
    def unlock(self) -> None:
        self.attempt(self.driver.unlock)

    @rule(nodes=st.sets(OTHERS, max_size=3))
    def add(self, nodes: set[int]) -> None:
        self.attempt(self.driver.add, *sorted(nodes))

    @rule(nodes=st.sets(OTHERS, min_size=1, max_size=2))
    def lock_and_add(self, nodes: set[int]) -> None:
        self.attempt(self.driver.lock)
        self.attempt(self.driver.add, *sorted(nodes))

    @rule(node=OTHERS)
    def remove(self, node: int) -> None:
        self.attempt(self.driver.remove, node)

    @rule(node=OTHERS, enclave=st.booleans())
    def go_down(self, node: int, enclave: bool) -> None:
        self.driver.call(1, "devnet_setEnclave" if enclave else "devnet_setNode", node, False)
        self.down.add(node)

    @precondition(lambda self: self.down)
    @rule()
    def come_back(self) -> None:
        for node in self.down:
            self.driver.call(1, "devnet_setEnclave", node, True)
            self.driver.call(1, "devnet_setNode", node, True)
        self.down.clear()

    @rule(seconds=st.sampled_from([0.01, 0.05, 5.0]))
    def let_time_pass(self, seconds: float) -> None:
        self.driver.move(seconds)

    @invariant()
    def members_that_follow_agree(self) -> None:
        """Every member whose node has the newest block has node 1's root, version and members."""
        chain_head = self.driver.network.chain.head
        for node in self.members():
            emulated = self.driver.network.nodes[node - 1]
            if emulated.up and emulated.head is chain_head:
                assert self.driver.root(node) == self.driver.root(1)
                assert self.driver.members(node) == self.driver.members(1)

    @invariant()
    def nobody_halts(self) -> None:
        """No life without a fault stops a node."""
        assert all(node.halted is None for node in self.driver.network.nodes)

    @invariant()
    def node_1_s_state_is_consistent(self) -> None:
        """Node 1 stays a member, and the owner's nonce counts what was executed."""
        timeline = next(iter(self.driver.network.nodes[0].timelines.values()))
        owned = [record for record in timeline.records if record.signed.sender == OWNER]

        assert 1 in self.members()
        assert timeline.records[-1].state.private_nonces[OWNER] == len(owned)

    def teardown(self) -> None:
        """In the end everybody is back, and all members have caught up."""
        self.come_back()
        self.driver.move(60)
        self.driver.mine()
        self.driver.move(60)
        head = self.driver.network.chain.head
        assert all(node.head is head for node in self.driver.network.nodes)
        self.members_that_follow_agree()


TestGroupLife = GroupLife.TestCase
TestGroupLife.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
