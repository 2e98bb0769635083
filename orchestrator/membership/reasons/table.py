"""Why a change waits, fails or needs a person: one table of reasons, each with its verdict and its remedy.

A reason is named by a short stable slug that machines can match; what a person reads is made from the table.
"""

from dataclasses import dataclass
from datetime import timedelta

from orchestrator.membership.reasons.cures import DELETE_BOTH, RESTART_ALL
from orchestrator.membership.reasons.judgements import Judgement, Rule
from orchestrator.outside_text import sentence


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """One occurrence of a reason.

    Attributes:
        slug: Key of `RULES`.
        detail: What was seen, with names and numbers; never a secret.
        members: Enclave keys that it is about, when it is about members.
        times: How many times in a row the change met it; counted by the rules.
    """

    slug: str
    detail: str = ""
    members: tuple[str, ...] = ()
    times: int = 1


RULES: dict[str, Rule] = {
    # The network is not well now.
    "node_unreachable": Rule(judgement=Judgement.RETRY, remedy="Start the node or mend the way to it."),
    "node_on_other_chain": Rule(
        judgement=Judgement.RETRY,
        remedy="Correct the node's address; if the network was made anew, nothing in the database holds there: move it "
        "away.",
    ),
    "credentials_unavailable": Rule(judgement=Judgement.RETRY, remedy="Mend what the node's credentials come from."),
    "credentials_refused": Rule(judgement=Judgement.RETRY, remedy="Renew the node's credentials: new ones are used."),
    "node_behind": Rule(
        judgement=Judgement.RETRY,
        remedy="Wait until the node has caught up; if it stands still, `orchestrator doctor` says what holds it.",
    ),
    "node_error": Rule(judgement=Judgement.RETRY, remedy="Look at the node's log.", patience=20),
    "not_known_here": Rule(
        judgement=Judgement.RETRY,
        remedy="The node has no answer to this yet: look whether it, or a replica behind its address, is late.",
        patience=20,
    ),
    "no_head": Rule(
        judgement=Judgement.RETRY, remedy=f"The chain makes no blocks: look at the validators. {RESTART_ALL}"
    ),
    "enclave_unreachable": Rule(
        judgement=Judgement.RETRY,
        remedy="Start the enclave of the member; a node whose enclave is down imports no block of the group.",
        member_specific=True,
    ),
    "bundle_not_taken": Rule(
        judgement=Judgement.RETRY,
        remedy="The group's history is too large for an enclave (Tessera on H2 2.1.210 ends at 1 MiB): give it another "
        "database, then retry.",
        member_specific=True,
        patience=1,
        pause=timedelta(seconds=60),
    ),
    "bundle_too_large": Rule(
        judgement=Judgement.PARK,
        remedy="Give the enclaves a database that takes it, or correct nodes.bundle_limit_bytes; then retry.",
    ),
    "too_many_requests": Rule(judgement=Judgement.RETRY, remedy="Lower the load on the node or raise its limit."),
    # Somebody else acts on the group.
    "locked_by_other": Rule(
        judgement=Judgement.RETRY,
        remedy="Wait for the owner who locked it, or run `orchestrator unlock` if that client is gone.",
        patience=8,
    ),
    "group_moved": Rule(
        judgement=Judgement.RETRY,
        remedy="Another client of the owner account changed the group meanwhile.",
        patience=20,
    ),
    "private_nonce_used": Rule(
        judgement=Judgement.RETRY, remedy="Another client uses the same owner account.", patience=20
    ),
    "wrong_private_nonce": Rule(
        judgement=Judgement.RETRY, remedy="Another client uses the same owner account.", patience=20
    ),
    "marker_nonce_used": Rule(
        judgement=Judgement.RETRY,
        remedy="The marker, or another transaction of its account, was mined: its receipt is looked for.",
        patience=20,
    ),
    "marker_outbid": Rule(
        judgement=Judgement.RETRY,
        remedy="The node's pool keeps another transaction of the marker account: wait until one of them is mined.",
        patience=20,
    ),
    "execution_refused": Rule(
        judgement=Judgement.RETRY, remedy="The node refused to execute it; the group is read anew.", patience=5
    ),
    "add_unmined": Rule(
        judgement=Judgement.RETRY,
        remedy="The addition is taken back, then the group unlocked; look at the pools and at the validators.",
        patience=5,
    ),
    "marker_unmined": Rule(
        judgement=Judgement.RETRY,
        remedy="It is broadcast through every node. If blocks are made and none takes it, look at the nodes' pools.",
    ),
    "marker_not_burnt": Rule(
        judgement=Judgement.RETRY,
        remedy="The group stays locked until one of the two is mined. Before Besu 23.10.2 a pool keeps the marker: "
        "restart all nodes together, so that the pools forget it; one restarted alone gets it back from its peers.",
    ),
    "outcome_unknown": Rule(
        judgement=Judgement.RETRY, remedy="No node knows yet what became of the transaction; they are asked again."
    ),
    "turn_given_up": Rule(
        judgement=Judgement.RETRY, remedy="Nothing: it is tried again without the change that it shared a lock with."
    ),
    # A replay would go wrong now, and not later.
    "history_not_read": Rule(
        judgement=Judgement.RETRY, remedy="The group's history is still being read, which happens once."
    ),
    "not_at_this_block": Rule(judgement=Judgement.RETRY, remedy="It is tried again after the next block.", patience=20),
    "newcomer_busy": Rule(
        judgement=Judgement.RETRY,
        remedy="Another addition to the same node is under way; this one follows it.",
        member_specific=True,
        in_line=True,
    ),
    "marker_account_busy": Rule(
        judgement=Judgement.RETRY,
        remedy="The node's markers have one sender, of which a block must hold one only; this one follows.",
        in_line=True,
    ),
    # The request can't be done.
    "group_unknown": Rule(
        judgement=Judgement.TERMINAL,
        remedy="Check the group id, and that one of the configured nodes is a member.",
    ),
    "group_exists": Rule(judgement=Judgement.TERMINAL, remedy="Choose another group id, or add members to the group."),
    "not_owner": Rule(
        judgement=Judgement.TERMINAL, remedy="Use the account that created the group; only that one may change it."
    ),
    "sender_not_member": Rule(
        judgement=Judgement.TERMINAL,
        remedy="Name the enclave key of a configured node among the members; it has to send the transaction.",
    ),
    "enclave_key_unknown": Rule(
        judgement=Judgement.TERMINAL,
        remedy="Check the key; its enclave must be connected with the sender's enclave.",
        member_specific=True,
    ),
    "enclave_recipient_away": Rule(
        judgement=Judgement.RETRY,
        remedy="Enclaves say the same of a key that nobody hosts and of an enclave that is down, Orion behind an "
        "outage: start the enclaves of all members, or check the key.",
        member_specific=True,
        patience=30,
        pause=timedelta(seconds=30),
    ),
    "enclave_key_too_long": Rule(
        judgement=Judgement.TERMINAL,
        remedy="Give the member a key of 32 bytes, or run Besu 22.10.0 or newer on all members' nodes and create the "
        "group there.",
        member_specific=True,
    ),
    "would_empty_group": Rule(
        judgement=Judgement.TERMINAL, remedy="A group can't lose its sending member; keep at least that one."
    ),
    "wrong_chain_id": Rule(judgement=Judgement.TERMINAL, remedy="Correct the chain id in the configuration."),
    "transaction_rejected": Rule(
        judgement=Judgement.TERMINAL, remedy="Look at the node's answer; gas limit and price are configurable."
    ),
    "deadline_passed": Rule(judgement=Judgement.TERMINAL, remedy="Ask again with a longer deadline."),
    "cancelled_by_operator": Rule(judgement=Judgement.TERMINAL, remedy="Ask again if it is still wanted."),
    "closed_by_operator": Rule(
        judgement=Judgement.TERMINAL,
        remedy="Nothing of it is left in the group. Ask again if it is still wanted.",
    ),
    # A person has to decide.
    "parked_by_operator": Rule(judgement=Judgement.PARK, remedy="Retry it to go on."),
    "node_unsuitable": Rule(
        judgement=Judgement.PARK,
        remedy="Enable flexible privacy groups and the EEA, PRIV and ETH methods on the node; `orchestrator doctor` "
        "says what is missing.",
    ),
    "enclave_error": Rule(
        judgement=Judgement.RETRY, remedy="Look at the enclave's log.", member_specific=True, patience=5
    ),
    "unauthorized": Rule(judgement=Judgement.PARK, remedy="Renew the node's token; check its permissions and key."),
    "host_not_allowed": Rule(
        judgement=Judgement.PARK,
        remedy="Add the host name that the node is configured under to its --host-allowlist.",
    ),
    "distribution_unavailable": Rule(
        judgement=Judgement.PARK,
        remedy="Enable the PRIV methods on the node: it takes no transaction with a marker of our own.",
    ),
    "marker_account_refused": Rule(
        judgement=Judgement.PARK,
        remedy="The network takes transactions of permitted or paying accounts only: configure accounts for markers "
        "([markers], orchestrator markers lists them) and have them permitted or funded; nothing is lost meanwhile.",
    ),
    "marker_accounts_busy": Rule(
        judgement=Judgement.RETRY,
        remedy="Each marker account signs one marker a block: configure more (markers.accounts), or wait.",
        in_line=True,
    ),
    "marker_gas_refused": Rule(
        judgement=Judgement.PARK, remedy="Set a gas limit that the blocks hold and that a marker transaction needs."
    ),
    "account_unavailable": Rule(judgement=Judgement.PARK, remedy="Configure the account's key, then retry."),
    "signer_away": Rule(judgement=Judgement.RETRY, remedy="Start what holds the account's key, or mend the way to it."),
    "signer_refused": Rule(
        judgement=Judgement.RETRY,
        remedy="Look why the account's signer does not sign: a locked or missing key, a policy, a token, a PIN.",
        patience=5,
        pause=timedelta(seconds=10),
    ),
    "signer_wrong": Rule(
        judgement=Judgement.PARK, remedy="Look which key the account's signer uses: what it answered is not used."
    ),
    "version_unknown": Rule(
        judgement=Judgement.PARK,
        remedy="Set nodes.besu_version: the node does not say which version of Besu it runs.",
    ),
    "contract_of_other_version": Rule(
        judgement=Judgement.PARK,
        remedy="The group was created by another Besu line, whose additions this one does not recognise. "
        "Create a new group, or run the line that created it.",
    ),
    "member_would_not_receive": Rule(
        judgement=Judgement.PARK,
        remedy="Run Besu 25.4.1 or older on the member's node: 25.5.0 loses the groups that it is added to. No option "
        "overrides this.",
        member_specific=True,
    ),
    "group_id_taken": Rule(
        judgement=Judgement.PARK,
        remedy="Two groups were given one id, and a node can have one of them: create a new group under another id.",
        member_specific=True,
    ),
    # What a replay would do; what halts a node is looked at again at every retry, and nobody can override it.
    "block_not_replayable": Rule(
        judgement=Judgement.PARK,
        remedy="No node that has to replay this block can take the group: its import of blocks would halt for good. "
        "Make a new group, or host the member on a node that has the group.",
        member_specific=True,
    ),
    "bundle_may_be_torn": Rule(
        judgement=Judgement.PARK,
        remedy="The new member's node would halt for good. Let it be sent through the node of a member that never "
        "joined a group by replay, such as one that was there when the group was made.",
    ),
    "former_member_unsafe": Rule(
        judgement=Judgement.PARK,
        remedy="The member's node can't go on from the state that it has: it would halt for good. Add a key that is "
        f"hosted on another node; {DELETE_BOTH}",
        member_specific=True,
    ),
    "cure_does_not_fit": Rule(
        judgement=Judgement.TERMINAL,
        remedy="Name transaction and members as the event has them that told of the addition, and let the daemon reach "
        "a member's node that refused it.",
    ),
    "refused_by_guard": Rule(
        judgement=Judgement.PARK,
        remedy="The guard before the member's node keeps this group's history from it: have its operator approve the "
        "addition, or mend what it names; then retry.",
        member_specific=True,
    ),
    "attestation_missing": Rule(
        judgement=Judgement.PARK,
        remedy="Have the operator of the member's node run a daemon with nodes.speaker, name its account under "
        "[[peers]], and retry; or set chain.attestations to prefer.",
        member_specific=True,
    ),
    "members_differ": Rule(
        judgement=Judgement.PARK,
        remedy="Let `orchestrator audit --deep` say whose state is wrong, before one is removed and added again.",
    ),
    "members_undecided": Rule(
        judgement=Judgement.PARK,
        remedy="The state roots can't tell which member is right: look for the marker transaction that one of them "
        "has no private receipt of. Change nothing on either before that.",
    ),
    "mixed_versions": Rule(judgement=Judgement.PARK, remedy="Run the same Besu version on all members' nodes."),
    "member_missing": Rule(
        judgement=Judgement.PARK,
        remedy="The member's node lost the group: remove the member and add it again.",
        member_specific=True,
    ),
    "member_forgotten": Rule(
        judgement=Judgement.PARK,
        remedy="Besu 25.5.0 forgot the group, and forgets it again however often the member is added: run 25.4.1 or "
        "older on the member's node first, then remove the member and add it again.",
        member_specific=True,
    ),
    "member_diverged": Rule(
        judgement=Judgement.PARK,
        remedy="Run `orchestrator audit --deep`. It says member_differs: remove the member and add it again. It says "
        f"member_beyond_repair: its node would halt, add a key on another node; {DELETE_BOTH} It says "
        "members_undecided: the roots can't tell who is right, change none yet.",
        member_specific=True,
    ),
    "repair_overtaken": Rule(
        judgement=Judgement.PARK,
        remedy="Nothing was done to the member: somebody changed it after it had lost its addition. Retry to ask for "
        "the members once more.",
    ),
    "other_group_rolled_back": Rule(
        judgement=Judgement.PARK,
        remedy="The member itself is in sync. Remove the member's node from the other group, lock, let a block pass, "
        "and add it again, where the forecast of that is safe; then retry.",
    ),
    "group_split": Rule(
        judgement=Judgement.PARK,
        remedy="Somebody acted under the lock while the addition waited to be mined. Through a member's node that did "
        "not send it: remove the sending member and the new ones listed there, then add them again in one request.",
    ),
    "store_restored": Rule(
        judgement=Judgement.PARK, remedy="Look at the group's members: retry it if it is still wanted, else cancel it."
    ),
    "defect": Rule(
        judgement=Judgement.PARK,
        remedy="This is a defect of the daemon: its log has the traceback. Retry when it is mended.",
    ),
    "replay_overdue": Rule(
        judgement=Judgement.PARK,
        remedy="The member is added and may still be replaying; retry to go on watching.",
        member_specific=True,
    ),
}
"""Every reason. `rule_of` is total: a slug that is not here is judged as ``node_error``."""


def rule_of(reason: Reason) -> Rule:
    """Return the rule of a reason; an unknown slug is a node's error that nobody has seen yet."""
    return RULES.get(reason.slug, RULES["node_error"])


def describe(reason: Reason) -> str:
    """Return one sentence for a person: what happened and what to do."""
    what = reason.slug.replace("_", " ")
    detail = f": {sentence(reason.detail)}" if reason.detail else "."
    return f"{what}{detail} {rule_of(reason).remedy}"
