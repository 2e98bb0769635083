"""`TimeStore` of `engine.ports.records` on SQL: what was forecast and measured of additions."""

from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import sqlalchemy as sa

from orchestrator.engine.ports.records import AdditionTime
from orchestrator.instants import micros, moment
from orchestrator.membership.forecast.durations import Quantity
from orchestrator.store.commits.database import Database
from orchestrator.store.commits.transaction import Transaction
from orchestrator.store.rows import storable
from orchestrator.store.schema import addition_times
from orchestrator.store.units.histories import upsert_over

_KEY: Final = ""
"""What these units lock belongs to no group."""
_PUT = upsert_over(addition_times)


class SqlAdditionTimes:
    """What additions took.

    Args:
        database: An open database.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def keep(self, times: Sequence[AdditionTime]) -> None:
        """Keep these, in place of those of the same change, quantity and member."""
        if times:
            await self._database.write(partial(_keep, times=tuple(times)), key=_KEY)

    async def newest(self, node: str, besu_version: str, quantity: Quantity, limit: int) -> tuple[AdditionTime, ...]:
        """Return what was measured last on a node of a line, newest first."""
        unit = partial(_newest, node=node, besu_version=besu_version, quantity=quantity, limit=limit)
        return await self._database.read(unit)

    async def of_change(self, change_id: str) -> tuple[AdditionTime, ...]:
        """Return what is kept of a change, in the order of quantities and members."""
        return await self._database.read(partial(times_of_change, change_id=change_id))


def _keep(transaction: Transaction, *, times: tuple[AdditionTime, ...]) -> None:
    connection = transaction.connection
    connection.execute(_PUT[connection.dialect.name], [_row(time) for time in times])


def _newest(
    connection: sa.Connection, *, node: str, besu_version: str, quantity: Quantity, limit: int
) -> tuple[AdditionTime, ...]:
    columns = addition_times.c
    wanted = (
        sa.select(addition_times)
        .where(columns.node == storable(node), columns.besu_version == besu_version)
        # Forecasts of additions that are not over, or that nobody saw end, are kept beside them and teach nothing.
        .where(columns.quantity == quantity.value, columns.taken_seconds.is_not(None))
        .order_by(columns.at.desc())
        .limit(limit)
    )
    return tuple(_time(row) for row in connection.execute(wanted).mappings())


def times_of_change(connection: sa.Connection, *, change_id: str) -> tuple[AdditionTime, ...]:
    """Return what is kept of a change, in the order of quantities and members."""
    columns = addition_times.c
    wanted = sa.select(addition_times).where(columns.change_id == change_id)
    rows = connection.execute(wanted.order_by(columns.quantity, columns.enclave_key)).mappings()
    return tuple(_time(row) for row in rows)


def _row(time: AdditionTime) -> dict[str, Any]:
    values = {name: getattr(time, name) for name in AdditionTime.__dataclass_fields__}
    return values | {"node": storable(time.node), "quantity": time.quantity.value, "at": micros(time.at)}


def _time(row: sa.RowMapping) -> AdditionTime:
    return AdditionTime(**{**row, "quantity": Quantity(row["quantity"]), "at": moment(row["at"])})
