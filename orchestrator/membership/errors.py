"""Errors of the rules.

MembershipError
├── ImpossibleStepError       a fact arrived in a state that cannot know it: a defect, never an operator's mistake
├── RefusedRequestError       an operator asked for what the change's state does not allow
└── ConflictingRequestError   the same request id with another body
"""


class MembershipError(Exception):
    """Something that the rules of membership refuse."""


class ImpossibleStepError(MembershipError):
    """A pair of state and fact that `machine.TRANSITIONS` does not list."""


class RefusedRequestError(MembershipError):
    """An operator's request that the change's state does not allow; nothing was changed."""


class ConflictingRequestError(MembershipError):
    """A request id came again with another body; nothing was changed."""
