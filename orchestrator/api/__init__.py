"""HTTP: changes, groups, status events as server-sent events, the dashboard, and what monitoring asks for."""

from orchestrator.api.application import make_api
from orchestrator.api.group_reading import FleetGroups
from orchestrator.api.ports import ApiServices

__all__ = ["ApiServices", "FleetGroups", "make_api"]
