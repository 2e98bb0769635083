"""The refusals of a transaction by a node, below `orchestrator.besu.errors.RpcError`. Pure."""

from orchestrator.besu.errors import ErrorClass, RpcError


class TransactionRefusedError(RpcError):
    """The node took no such transaction."""

    reason = "transaction_refused"


class NonceTooLowError(TransactionRefusedError):
    """The private nonce is used: by this transaction, sent before, or by another of the account."""

    reason = "nonce_too_low"


class WrongChainIdError(TransactionRefusedError):
    """The signature is bound to another chain."""

    reason = "wrong_chain_id"
    error_class = ErrorClass.OPERATOR
    remedy = "sign with the chain id that eth_chainId of the node answers"


class InsufficientBalanceError(TransactionRefusedError):
    """The account that pays the marker transaction has too little."""

    reason = "balance"
    error_class = ErrorClass.OPERATOR
    remedy = "use gas price 0 on a gas-free network, or fund the account"


class GasRefusedError(TransactionRefusedError):
    """The gas limit or the gas price does not suit the network."""

    reason = "gas_limit"
    error_class = ErrorClass.OPERATOR
    remedy = "set a gas limit between the intrinsic cost and the block's limit, and a price that the network takes"


class IntrinsicGasError(GasRefusedError):
    """The gas limit is below the cost of carrying the transaction."""

    reason = "intrinsic_gas"


class GasPriceTooLowError(GasRefusedError):
    """The gas price is below what the network takes."""

    reason = "gas_price"


class AccountNotPermittedError(TransactionRefusedError):
    """The account that sends the marker transaction may not send: account permissioning is on."""

    reason = "account_not_permitted"
    error_class = ErrorClass.OPERATOR
    remedy = "permit the account that sends marker transactions"


class MarkerPoolError(TransactionRefusedError):
    """The marker transaction did not enter the pool because of another one; the same bytes can be sent again."""

    reason = "marker_pool"
    error_class = ErrorClass.RETRY


class MarkerOutbidError(MarkerPoolError):
    """The pool holds another transaction of that account and nonce, and keeps it: the price is not high enough."""

    reason = "marker_outbid"


class MarkerKnownError(TransactionRefusedError):
    """The very same marker transaction is in the pool: it was sent before."""

    reason = "marker_known"
    error_class = ErrorClass.RETRY
    certain = False
