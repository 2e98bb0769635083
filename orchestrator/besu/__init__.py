"""Client library for Hyperledger Besu nodes with flexible privacy groups.

``FlexiblePrivacyGroups`` does what an owner wants done, ``PrivateAccount`` what an application does; ``Node`` and
``NodeSocket`` are one node's calls and subscriptions; ``sign_private_transaction`` signs. All errors of nodes are
``BesuError``, see the module ``errors``.
"""

from orchestrator.besu.client.group_changes import ChangeReceipt, CreatedGroup, GroupChangeError
from orchestrator.besu.client.groups import FlexiblePrivacyGroups
from orchestrator.besu.client.node import Node
from orchestrator.besu.client.outcome import Done, MemberOutcome, Rejected, Rejection, Unseen, read_outcome
from orchestrator.besu.client.pmt_wait import NotMinedError, wait_mined
from orchestrator.besu.client.private_account import PrivateAccount
from orchestrator.besu.client.signer_ports import (
    KeyService,
    Signer,
    SignerAwayError,
    SignerError,
    SignerRefusedError,
    WrongSignatureError,
)
from orchestrator.besu.client.signers import signer_from_key, signer_from_key_file, signer_from_keystore
from orchestrator.besu.codec.management_contract import Abi, Method
from orchestrator.besu.codec.private_transaction import (
    PrivateTransaction,
    SignedPrivateTransaction,
    decode_private_transaction,
    sign_private_transaction,
    unsigned_private_transaction,
)
from orchestrator.besu.codec.results import Block, FoundGroup, GroupView, Head, Log, PrivateReceipt, PublicReceipt
from orchestrator.besu.codec.simulation import Forecast, Simulation
from orchestrator.besu.credential_errors import CredentialError
from orchestrator.besu.errors import BesuError, ErrorClass, ProtocolError, RpcError, TransportError
from orchestrator.besu.transport.http_client import HttpNode, open_session
from orchestrator.besu.transport.subscriptions import Gap, GapReason
from orchestrator.besu.transport.token_files import TokenFile
from orchestrator.besu.transport.websocket_client import NodeSocket, Subscription

__all__ = [
    "Abi",
    "BesuError",
    "Block",
    "ChangeReceipt",
    "CreatedGroup",
    "CredentialError",
    "Done",
    "ErrorClass",
    "FlexiblePrivacyGroups",
    "Forecast",
    "FoundGroup",
    "Gap",
    "GapReason",
    "GroupChangeError",
    "GroupView",
    "Head",
    "HttpNode",
    "KeyService",
    "Log",
    "MemberOutcome",
    "Method",
    "Node",
    "NodeSocket",
    "NotMinedError",
    "PrivateAccount",
    "PrivateReceipt",
    "PrivateTransaction",
    "ProtocolError",
    "PublicReceipt",
    "Rejected",
    "Rejection",
    "RpcError",
    "SignedPrivateTransaction",
    "Signer",
    "SignerAwayError",
    "SignerError",
    "SignerRefusedError",
    "Simulation",
    "Subscription",
    "TokenFile",
    "TransportError",
    "Unseen",
    "WrongSignatureError",
    "decode_private_transaction",
    "open_session",
    "read_outcome",
    "sign_private_transaction",
    "signer_from_key",
    "signer_from_key_file",
    "signer_from_keystore",
    "unsigned_private_transaction",
    "wait_mined",
]
