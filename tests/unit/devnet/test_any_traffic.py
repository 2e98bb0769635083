"""Whatever is sent through whichever nodes, however they are connected, the public chain stays consistent."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from orchestrator.devnet.accounts import DEVELOPMENT_BALANCES_WEI
from orchestrator.devnet.chain.public_signatures import signing_account
from orchestrator.devnet.errors import RpcError
from tests.unit.devnet.driving import ACCOUNT_KEYS, APPLICATION, Driver

NODES = st.integers(min_value=1, max_value=4)
ACCOUNTS = [signing_account(bytes.fromhex(key)) for key in ACCOUNT_KEYS]
REFUSALS = {
    "Known transaction",
    "Nonce too low",
    "Replacement transaction underpriced",
    "Gas price below configured minimum gas price",
}


class PublicLife(RuleBasedStateMachine):
    """Four nodes, three of them validators, and three accounts that hold something."""

    @initialize(
        version=st.sampled_from(["21.1.7", "22.4.4", "23.10.3", "25.4.1"]),
        gossip_ms=st.sampled_from([0, 50]),
        base_fee=st.booleans(),
    )
    def begin(self, version: str, gossip_ms: float, base_fee: bool) -> None:
        self.driver = Driver(besu_version=version, nodes=4, validators=3, gossip_ms=gossip_ms, base_fee=base_fee)

    @rule(
        account=st.sampled_from(ACCOUNTS),
        node=NODES,
        account_nonce=st.integers(min_value=0, max_value=6),
        gas_price=st.sampled_from([0, 0, 1_000, 1_101]),
        value=st.integers(min_value=0, max_value=3),
    )
    def send(self, account: object, node: int, account_nonce: int, gas_price: int, value: int) -> None:
        fields = {"account_nonce": account_nonce, "gas_price": gas_price, "value": value, "to": APPLICATION}
        try:
            self.driver.public(account, node=node, **fields)  # type: ignore[arg-type]  # each field has its own type
        except RpcError as error:
            if error.message not in REFUSALS:
                raise

    @rule(node=NODES, transactions=st.booleans(), blocks=st.booleans())
    def propagate(self, node: int, transactions: bool, blocks: bool) -> None:
        self.driver.call(1, "devnet_setPropagation", node, transactions, blocks)

    @rule(node=NODES, up=st.booleans())
    def switch(self, node: int, up: bool) -> None:
        self.driver.call(1, "devnet_setNode", node, up)

    @rule(count=st.integers(min_value=1, max_value=3))
    def mine(self, count: int) -> None:
        self.driver.mine(count)

    @rule(depth=st.integers(min_value=1, max_value=3), drop=st.booleans())
    def reorganise(self, depth: int, drop: bool) -> None:
        self.driver.call(1, "devnet_reorg", depth, drop)

    @rule(seconds=st.sampled_from([0.01, 0.05]))
    def let_time_pass(self, seconds: float) -> None:
        self.driver.move(seconds)

    @invariant()
    def each_place_is_used_once_and_in_order(self) -> None:
        """The public nonces of an account in the chain are 0, 1, 2, …"""
        chain = self.driver.network.chain
        used: dict[str, int] = {}
        for number in range(chain.head.number + 1):
            block = chain.block(number)
            assert block is not None
            for transaction in block.transactions:
                assert transaction.account_nonce == used.get(transaction.sender, 0)
                used[transaction.sender] = transaction.account_nonce + 1
        assert all(chain.account(item.address).account_nonce == used.get(item.address, 0) for item in ACCOUNTS)

    @invariant()
    def no_value_is_made_or_lost(self) -> None:
        """What the accounts, the receiver and the proposers hold is what was there at the start."""
        chain = self.driver.network.chain
        holders = {APPLICATION, *DEVELOPMENT_BALANCES_WEI}
        assert sum(chain.account(holder).balance_wei for holder in holders) == sum(DEVELOPMENT_BALANCES_WEI.values())
        assert all(chain.account(holder).balance_wei >= 0 for holder in holders)

    def teardown(self) -> None:
        """Connected again, nothing stays in a validator's pool that a block can hold."""
        if not hasattr(self, "driver"):
            return
        for number in range(1, 5):
            self.driver.call(1, "devnet_setNode", number, True)
            self.driver.call(1, "devnet_setPropagation", number, True, True)
        self.driver.move(1)
        self.driver.mine(4)
        network = self.driver.network
        assert all(node.head is network.chain.head for node in network.nodes)
        for node in network.validators:
            assert not network.pool.of(node).executable(network.chain.account)


TestPublicLife = PublicLife.TestCase
TestPublicLife.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
