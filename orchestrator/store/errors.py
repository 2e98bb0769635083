"""Errors of the store; the engine knows the first two.

StoreError (engine.ports.store)          nothing of the unit of work was committed that trying again would double
├── LeaseLostError (engine.ports.store)  the lane, or the change as it was read, is not ours any more
├── StoreUnavailableError                the database did not answer, or not in time
│   └── StoreLockedError                 another program has the SQLite file for itself
├── ConstraintError                      the database refused what would break an invariant: a defect
└── SchemaVersionError                   the store is at another revision than this program
"""

from orchestrator.engine.ports.store import StoreError


class StoreUnavailableError(StoreError):
    """The database can't be reached, ended the connection, or did not answer in time; try again later."""


class StoreLockedError(StoreUnavailableError):
    """Another program holds a lock on the SQLite file, for longer than is waited; it is free when that one lets go."""


class UnreadableChangeError(StoreError):
    """A row of a change is none that this program knows: damaged, or written by a newer version."""

    passing = False


class ConstraintError(StoreError):
    """The database refused what would break an invariant that it holds; trying again changes nothing."""

    passing = False


class SchemaVersionError(StoreError):
    """The store's tables are not those that this program works with; the message says which command mends it."""
