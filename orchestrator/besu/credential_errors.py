"""What goes wrong with what proves us to a node, or to what stands before it. Pure."""

from orchestrator.besu.errors import BesuError, TransportError


class CredentialError(BesuError):
    """What proves us to a node can't be had: nothing was sent. The message never shows what a file or an answer holds.

    It may be had later: whatever renews the token does so by itself.
    """

    reason = "credentials_unavailable"


class CredentialsRefusedError(TransportError):
    """The node, or what stands before it, does not take our credentials, whatever is asked: nothing was done.

    It says nothing about what was asked. A token that has ended is renewed by whatever renews it.
    """

    reason = "credentials_refused"
    certain = True
