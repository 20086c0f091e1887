"""The checks of what single features tell about y: nothing, or everything."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gpunn.common.names import counted, either
from gpunn.common.numeric.moments import mean, size

from .checked_data import Data, Finding, note, warning
from .statistics import BINS, binned, counts_table, g_test


def relevance(data: Data) -> Iterator[Finding]:
    """Features that y does not seem to depend on."""
    if data.y is None or not np.isfinite(data.y).all():
        return
    values, y = data.sampled(), data.y[data.sample]
    if data.labels is None:
        y = binned(y, 5)
    classes = len(np.unique(y))
    bins = int(np.clip(len(y) / (5 * classes), 2, BINS))
    # Bins of codes mean something only if each code has its own.
    many = data.coded & np.array([len(np.unique(c)) > bins for c in values.T])
    changing = values.max(axis=0) > values.min(axis=0)
    varied = np.flatnonzero(changing & ~many)
    if not len(varied) or classes < 2 or len(y) < 20:
        return
    chances = np.array([g_test(counts_table(binned(c, bins), y))[1] for c in values.T[varied]])
    unrelated = varied[chances > 0.05]
    how = f"G-test of independence on {bins} bins"
    if chances.min() * len(varied) > 0.01 and not (changing & many).any():
        yield warning(
            f"No single feature has a significant relation to y ({how}, smallest p "
            f"{chances.min():.2g} of {len(varied)}): do the labels belong to these rows? Features "
            f"that matter only together, as in XOR, look the same.",
            columns=unrelated,
        )
    elif len(unrelated):
        yield note(
            f"{len(unrelated):,} of {counted(len(varied), 'feature')} "
            f"{either(len(unrelated), 'has', 'have')} no visible relation to y by "
            f"{either(len(unrelated), 'itself', 'themselves')} ({how}, p > 0.05): "
            f"{data.name(unrelated)}.",
            columns=unrelated,
        )


def determined(data: Data) -> Iterator[Finding]:
    """Features that alone give y: columns that are known only after y, or made of it."""
    if data.y is None or len(data.y) < 20 or not np.isfinite(data.y).all():
        return
    values, y = data.sampled(), data.y[data.sample]
    if data.labels is None:
        alone = [i for i, column in enumerate(values.T) if _gives_number(column, y)]
        how = "a straight line of it gives y"
    else:
        alone = [
            i for i, column in enumerate(values.T)
            if _gives_class(column, y.astype(int), bool(data.coded[i]), data.columns)
        ]  # fmt: skip
        how = "each of its values, or of its ranges, has one class"
    if alone:
        yield warning(
            f"{data.name(np.array(alone))} alone {either(len(alone), 'tells', 'tell')} y exactly "
            f"({how}):",
            columns=np.array(alone),
            advice="is it known before y is? If not, leave it out: metrics would be too good.",
        )


def _gives_number(column: np.ndarray, y: np.ndarray) -> bool:
    """Whether a straight line of the column explains all but a millionth of the variance of y."""
    apart = [values - mean(values) for values in (column, y)]
    units = [size(values).item() for values in apart]
    if not all(units):
        return False
    one, other = (values / unit for values, unit in zip(apart, units, strict=True))
    return float(one @ other) ** 2 > (1 - 1e-6) * float(one @ one) * float(other @ other)


def _gives_class(column: np.ndarray, y: np.ndarray, coded: bool, columns: int) -> bool:
    """Whether each code, or for numbers each of as many ranges as there are classes, has one
    class, and that is no chance."""
    shares = np.bincount(y) / len(y)
    some = slice(None, None, -(-len(y) // 200))
    for rows in (some, slice(None)):  # most columns end at the first, which is fast
        order = np.lexsort((y[rows], column[rows]))
        labels = y[rows][order]
        new_value, new_class = np.diff(column[rows][order]) != 0, np.diff(labels) != 0
        if (new_class & ~new_value).any():
            return False  # a value with two classes
        starts = np.flatnonzero(np.append(True, new_value if coded else new_class))
        if not coded and len(starts) > np.count_nonzero(shares):
            return False
    # The first row of each group has any class, the others must have the same.
    groups = np.diff(np.append(starts, len(y)))
    chance = ((groups - 1) * np.log(shares[labels[starts]])).sum()
    return bool(len(starts) > 1 and chance < np.log(1e-6 / columns))
