"""Membership orchestrator for Hyperledger Besu flexible privacy groups."""

__version__ = "0.1.0"
