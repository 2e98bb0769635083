"""What every scenario needs: a daemon, somebody else with the same account, and patience."""

from datetime import timedelta

from orchestrator.membership.attempt import Action
from orchestrator.membership.model import Change, State
from tests.fakes.simulated_chain import DAEMON, PrivateTransaction, SimulatedChain
from tests.fakes.simulated_daemon import SimulatedDaemon


def daemon_of(*participants: str, confirmations: int = 0) -> SimulatedDaemon:
    return SimulatedDaemon(SimulatedChain(participants, confirmations), "k1")


def until(daemon: SimulatedDaemon, change_id: str, *states: State, mine: bool = True) -> Change:
    """Work, and make blocks, until a change is in one of these states."""
    for _ in range(200):
        if daemon.store[change_id].state in states:
            return daemon.store[change_id]
        if not daemon.work():
            if mine:
                daemon.world.chain.mine()
            if not daemon.active:
                daemon.now += timedelta(seconds=150)
    raise AssertionError(f"{change_id} stays {daemon.store[change_id]}")


def act(daemon: SimulatedDaemon, action: Action, *members: str, mined: bool = True) -> str:
    """Another client of the owner account sends a transaction."""
    chain = daemon.world.chain
    count = chain.head.state.private_nonce
    pmt = chain.submit(PrivateTransaction(action=action, members=members, private_nonce=count, client="other"))
    if mined:
        chain.mine([pmt])
    return pmt


def done(daemon: SimulatedDaemon) -> list[Action]:
    return [transaction.action for transaction in daemon.world.chain.executed(DAEMON)]
