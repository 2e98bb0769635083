"""Membership orchestrator for Hyperledger Besu flexible privacy groups."""

from importlib.metadata import version

__version__ = version("besu-membership-orchestrator")
