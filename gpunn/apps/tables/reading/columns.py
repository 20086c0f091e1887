"""Which columns of a table are predicted and read, as the user says or by what they hold."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from gpunn.common.names import closest, either, listed

from .csv_pieces import TableError
from .kinds import MOST_CATEGORIES, Column, column_in
from .table import Table

SHOWN = 10  # columns that a message names
TIMES = 10  # different ones at least, in rows that have an order of time


def target_name(table: Table, given: str | None) -> str:
    """Return the name of the column to predict.

    Raises:
        TableError: if none is ``given``, or the table has no such column.
    """
    if given is None:
        raise TableError(
            f"Which column of {table.path} is to be predicted? Pass --target NAME, one of: "
            f"{listed(table.names, 30)}."
        )
    if given not in table.names:
        raise TableError(
            f"{table.path} has no column {given!r}.{closest(given, table.names)} Its columns are "
            f"{listed(table.names, 30)}."
        )
    return given


def columns_of(
    table: Table, target: str | None, most: int = MOST_CATEGORIES, keep: Sequence[str] = (),
    leave_out: Sequence[str] = (), group: str | None = None,
) -> list[Column]:
    """Return all columns of a table but the target: see `column_of`.

    Args:
        table: the table.
        target: name of the target; None for none.
        most: maximum number of categories of a column.
        keep: names of columns to use even if they would be left out.
        leave_out: names of columns not to use.
        group: name of the column that groups rows; it is not used either.

    Raises:
        TableError: for a name that the table lacks, for the target and for a column that is to be
            kept and left out, for one that is to be kept but cannot be used, and as `column_in`.
    """
    told = {"--leave-out": leave_out, "--group": [group] if group is not None else []}
    out = {name: option for option, names in told.items() for name in names}
    for option, names in {**told, "--keep": keep}.items():
        for name in names:
            if name not in table.names:
                hint = closest(name, table.names)
                raise TableError(f"{option}: {table.path} has no column {name!r}.{hint}")
            other = "--target" if name == target else out.get(name, option)
            if other == "--target" or (option == "--keep" and other != option):
                raise TableError(
                    f"{option}: the column {name!r} is also in {other}: remove it from one."
                )
    columns = []
    for name in table.names:
        if name in out:
            columns.append(Column(name, "left out", f"as {out[name]} says"))
        elif name != target:
            columns.append(column_in(table, name, most, name in keep))
            if name in keep and columns[-1].kind == "left out":
                raise TableError(
                    f"--keep: the column {name!r} of {table.path} cannot be used: "
                    f"{columns[-1].why}."
                )
    return columns


def none_to_learn_from(table: Table, columns: Sequence[Column]) -> str:
    """Return the message on a table whose columns are all left out."""
    why = "; ".join(f"{column.name} is left out ({column.why})" for column in columns[:SHOWN])
    return f"{table.path} has no column to learn from: {why or 'one only'}.{how_to_keep(columns)}"


def how_to_keep(columns: Sequence[Column]) -> str:
    """Return a sentence on how to use columns that are left out, or nothing if none can be.

    >>> how_to_keep([Column("the year", "left out", "it counts", may_be_kept=True)])
    " To learn from it, pass --keep 'the year'."
    """
    names = [column.name for column in columns if column.may_be_kept][:SHOWN]
    it = either(len(names), "it", "them")
    return f" To learn from {it}, pass {shlex.join(['--keep', *names])}." if names else ""


class TimeOrder(NamedTuple):
    """The column that tells that rows are in an order of time, and whether it descends."""

    name: str
    latest_first: bool

    @property
    def proposal(self) -> str:
        """What to do about it, as a sentence without a full stop."""
        first, which = (", the latest first", "latest") if self.latest_first else ("", "last")
        return (
            f"rows are in the order of {self.name!r}{first}: --split order holds out the {which} "
            f"ones, as you will predict the future"
        )


def time_order(columns: Sequence[Column], rows: np.ndarray) -> TimeOrder | None:
    """Return the order of time of some rows; None if there is none.

    A column of dates tells it, or one that counts the rows and that the user keeps, if its values
    never fall, or never rise. Of several columns, one that rises does.

    >>> from .kinds import column_of
    >>> cells = [f"2024-01-{day:02}" for day in range(31, 0, -1)]
    >>> time_order([column_of("day", cells)], np.arange(31))
    TimeOrder(name='day', latest_first=True)
    >>> time_order([column_of("day", [*cells[1:], cells[0]])], np.arange(31)) is None
    True
    """
    found = []
    for column in columns:
        if column.kind != "date" and not (column.kind == "number" and column.why):
            continue
        times = column.values[rows]
        times = times[~np.isnan(times)]
        steps = np.diff(times)
        is_known = len(times) > len(rows) / 2 and len(np.unique(times)) >= TIMES
        if is_known and ((steps >= 0).all() or (steps <= 0).all()):
            found.append(TimeOrder(column.name, bool((steps < 0).any())))
    return min(found, key=lambda order: order.latest_first, default=None)
