"""Tables on the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gpunn.common.names import significant


def as_lines(rows: Sequence[Sequence[str]]) -> str:
    """Format rows of strings in columns as wide as their longest string.

    >>> print(as_lines([("", "accuracy"), ("mean", "0.5")]))
          accuracy
    mean  0.5
    """
    rows = [[shown(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ([cell.ljust(widths[i]) for i, cell in enumerate(row)] for row in rows)
    return "\n".join("  ".join(line).rstrip() for line in lines)


def shown(text: str) -> str:
    """Return a string from user data on one line, without terminal control characters.

    >>> shown("a\\nb\\x1b[2J")
    'a b [2J'
    """
    return "".join(c if c.isprintable() else " " for c in text)


IN_UNITS = ("MAE", "RMSE")  # metrics in the target's units; the others are relative


def metric(name: str, value: float) -> str:
    """Format a metric: four significant digits, or four decimals of a relative one.

    >>> metric("MAE", 1234.56), metric("MAE", 2e-7), metric("R2", -2e-7), metric("R2", 0.97124)
    ('1,235', '2e-07', '0', '0.9712')
    """
    return significant(value if name in IN_UNITS else round(value, 4))


def results(compared: Mapping[str, Mapping[str, float]]) -> list[tuple[str, ...]]:
    """Return a row for each model and a column for each metric.

    >>> results({"mean": {"MAE": 0.123456}})
    [('', 'MAE'), ('mean', '0.1235')]
    """
    names = list(next(iter(compared.values())))
    rows = [(name, *(metric(n, found[n]) for n in names)) for name, found in compared.items()]
    return [("", *names), *rows]
