"""Methods of private logs: reading them, and filters that are polled."""

from typing import Any, Final

from orchestrator.devnet import errors
from orchestrator.devnet.private.node_logs import NodeLog, logs_between, matches
from orchestrator.devnet.rpc.call import Call, MethodTable, read_block_number, read_hash
from orchestrator.devnet.rpc.filters import LogFilter, LogQuery, read_log_query
from orchestrator.devnet.rpc.priv import check_tenant, group_of
from orchestrator.devnet.rpc.views import log_view


def _get_logs(call: Call) -> list[dict[str, Any]]:
    given = call.mapping(1, "filter params")
    query = _query(call, given)
    if given.get("blockHash") is None:
        first, last = _range(call, given.get("fromBlock"), given.get("toBlock"))
        group = group_of(call)
        check_tenant(call, group)
        return _show(_matching(call, group, query, first, last))
    block_hash = read_hash(given["blockHash"])
    if block_hash is None or given.get("fromBlock") is not None or given.get("toBlock") is not None:
        raise call.invalid("filter params")
    group = group_of(call)
    block = call.network.chain.by_hash(block_hash)
    if block is None or block.number > call.node.head.number or not call.network.chain.is_canonical(block):
        return []
    check_tenant(call, group, block.number)
    return _show(_matching(call, group, query, block.number, block.number))


def _query(call: Call, given: Any) -> LogQuery:
    query = read_log_query(given)
    if query is None:
        raise call.invalid("filter params")
    return query


def _range(call: Call, from_block: Any, to_block: Any) -> tuple[int, int]:
    head = call.node.head.number
    first = read_block_number("latest" if from_block is None else from_block, head)
    last = read_block_number("latest" if to_block is None else to_block, head)
    if first is None or last is None:
        raise call.invalid("filter params")
    # Besu reads a range that starts at "latest" from the first block (23.10.3, PrivGetLogs).
    return (0 if from_block in {None, "latest", "pending"} else first), min(last, head)


def _matching(call: Call, group: bytes, query: LogQuery, first: int, last: int) -> list[NodeLog]:
    timeline = call.node.timelines.get(group)
    if timeline is None:
        return []
    found = logs_between(call.network.chain, group, timeline, first, last)
    return [log for log in found if matches(log.log, query.addresses, query.topics)]


def _show(logs: list[NodeLog]) -> list[dict[str, Any]]:
    return [log_view(log) for log in logs]


def _new_filter(call: Call) -> str:
    given = call.mapping(1, "filter params")
    query = _query(call, given)
    _range(call, given.get("fromBlock"), given.get("toBlock"))
    group = group_of(call)
    check_tenant(call, group)
    return call.filters.install(LogFilter(group, query, given.get("fromBlock"), given.get("toBlock")))


def _installed(call: Call) -> LogFilter:
    group = group_of(call)
    check_tenant(call, group)
    installed = call.filters.get(call.text(1, "filter params"))
    if not isinstance(installed, LogFilter):
        raise errors.filter_not_found()
    return installed


def _filter_changes(call: Call) -> list[dict[str, Any]]:
    installed = _installed(call)
    arrived = [log for log in installed.arrived if matches(log.log, installed.query.addresses, installed.query.topics)]
    installed.arrived.clear()
    return _show(arrived)


def _filter_logs(call: Call) -> list[dict[str, Any]]:
    installed = _installed(call)
    first, last = _range(call, installed.from_block, installed.to_block)
    return _show(_matching(call, installed.privacy_group_id, installed.query, first, last))


def _uninstall(call: Call) -> bool:
    check_tenant(call, group_of(call))
    return call.filters.uninstall(call.text(1, "filter params"))


METHODS: Final[MethodTable] = {
    "priv_getLogs": _get_logs,
    "priv_newFilter": _new_filter,
    "priv_getFilterChanges": _filter_changes,
    "priv_getFilterLogs": _filter_logs,
    "priv_uninstallFilter": _uninstall,
}
