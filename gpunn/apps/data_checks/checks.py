"""The checks of one data set: each takes the data and yields its findings."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gpunn.common.names import counted, either, listed
from gpunn.common.numeric.moments import deviation, lost_in_float32, mean, size

from .checked_data import MISSING, Data, Finding, error, finding, note, warning
from .statistics import BINS, binned, counts_table, equal_rows, g_test


def missing(data: Data) -> Iterator[Finding]:
    """NaN and infinity."""
    for argument, values in (("x", data.x), ("x_test", data.x_test)):
        if values is None or values.dtype.kind != "f" or np.isfinite(values.sum(dtype=np.float64)):
            continue
        bad = ~np.isfinite(values)
        rows, columns = np.flatnonzero(bad.any(axis=1)), np.flatnonzero(bad.any(axis=0))
        if len(rows):
            yield error(
                f"{argument} has {counted(bad.sum(), 'value')} that "
                f"{either(bad.sum(), 'is', 'are')} missing or infinite, in {len(rows):,} of "
                f"{counted(len(values), 'row')} and in the "
                f"{either(len(columns), 'feature', 'features')} {data.name(columns)}: fill "
                f"{either(bad.sum(), 'it', 'them')} in, or leave the "
                f"{either(len(rows), 'row', 'rows')} out.",
                rows,
                columns,
            )
    if data.raw_y is not None and data.raw_y.dtype.kind in "fmMOU":
        y = data.raw_y.reshape(len(data.raw_y), -1)
        known = y != MISSING if y.dtype.kind in "OU" else np.isfinite(y)
        rows = np.flatnonzero(~known.all(axis=1))
        if len(rows):
            first = f"the first is row {rows[0]}"
            yield error(f"y is missing in {counted(len(rows), 'row')}: {first}.", rows)


def labels(data: Data) -> Iterator[Finding]:
    """Labels that losses do not accept as they are."""
    if data.labels is None or data.raw_y is None or data.raw_y.ndim == 2:
        return
    known, kind = data.labels, data.raw_y.dtype.kind
    if len(known) == 1:
        yield error(f"All labels are {known[0]}: there is nothing to learn.")
    if kind not in "biuf":
        yield error(
            f"The labels are not numbers ({listed(known.tolist())}): number them from 0 with "
            f"numpy.unique(y, return_inverse=True)[1] (gpunn train and gpunn.sklearn do so by "
            f"themselves).",
        )
        return
    if kind == "f" and np.isfinite(known).all():
        yield note(
            f"The labels are whole numbers stored as {data.raw_y.dtype}; if they are quantities, "
            f"not classes, pass task='regression'.",
        )
    if known.tolist() == [-1, 1]:
        yield note("The labels are -1 and 1, which fits hinge; cross-entropy takes 0 and 1.")
    elif np.isfinite(known).all() and len(known) > 1 and known.tolist() != [*range(len(known))]:
        yield warning(
            f"The labels are not 0 to {len(known) - 1} but {listed(known.tolist())}: a network "
            f"needs an output for each number up to the largest. Renumber them with "
            f"numpy.unique(y, return_inverse=True)[1].",
        )


def duplicates(data: Data) -> Iterator[Finding]:
    """Rows that occur more than once, with the same label or with another."""
    first = equal_rows(data.x, data.x)
    copies = np.flatnonzero((first >= 0) & (first != np.arange(len(first))))
    if not len(copies):
        return
    if data.y is not None:
        differ = copies[data.y[copies] != data.y[first[copies]]]
        if len(differ):
            rows = np.union1d(differ, first[differ])
            yield finding(
                "note" if data.labels is None else "warning",
                f"{len(rows):,} rows are equal to another row with a different y, such as rows "
                f"{data.numbers[first[differ[0]]]} and {data.numbers[differ[0]]}: no model can be "
                f"right about both.",
                rows,
                check="contradictions",
            )
    # Where features take few values, rows must repeat.
    sample = data.sampled()
    possible = np.prod([len(np.unique(c)) for c in sample.T[:64]], dtype=np.float64)
    many = len(copies) > 0.05 * len(first) and possible > len(first)
    yield finding(
        "warning" if many else "note",
        f"{counted(len(copies), 'row')} equal to an earlier one ({len(copies) / len(first):.1%}):",
        copies,
        advice=f"{either(len(copies), 'it counts', 'they count')} several times, and a random "
        f"split puts some on both sides.",
    )


def imbalance(data: Data) -> Iterator[Finding]:
    """Classes of very different size."""
    if data.labels is None or data.y is None:
        return
    counts = np.bincount(data.y, minlength=data.classes)
    present = np.flatnonzero(counts)
    if len(present) < 2:
        return
    low, high = present[counts[present].argmin()], counts.argmax()
    ratio = counts[high] / counts[low]
    if ratio >= 3:
        yield finding(
            "warning" if ratio >= 10 else "note",
            f"Class {data.labels[high]} has {ratio:.1f} times the rows of class "
            f"{data.labels[low]} ({counts[high]:,} and {counts[low]:,}): always predicting "
            f"{data.labels[high]} is right {counts[high] / len(data.y):.1%} of the time.",
            advice="Look at precision and recall, and consider class_weight.",
        )


def amount(data: Data) -> Iterator[Finding]:
    """Too few rows, for the features, the classes or a model."""
    rows, columns = data.x.shape
    if rows < 50:
        there = f"There {either(rows, 'is', 'are')} only {counted(rows, 'row')}"
        yield warning(f"{there}: metrics are unreliable.")
    elif rows < 10 * columns:
        yield finding(
            "warning" if rows < 5 * columns else "note",
            f"There are {rows:,} rows for {columns:,} features, {rows / columns:.1f} per feature: "
            f"a model can memorize them.",
            advice="Regularise, or leave features out.",
        )
    if data.labels is not None and data.y is not None and rows >= 50:
        counts = np.bincount(data.y, minlength=data.classes)
        few = np.flatnonzero(counts < 10)
        if len(few):
            yield warning(
                f"Fewer than 10 rows have the label {listed(data.labels[few].tolist())}.",
                np.flatnonzero(np.isin(data.y, few)),
            )
    if data.parameters is not None and data.parameters > rows:
        ratio = data.parameters / rows
        yield finding(
            "warning" if ratio >= 100 else "note",
            f"The model has {data.parameters:,} parameters, {ratio:.1f} per row: monitor "
            f"held-out data during training.",
        )


def constant(data: Data) -> Iterator[Finding]:
    """Features with a single value."""
    same = np.flatnonzero((data.x == data.x[:1]).all(axis=0))
    if not len(same):
        return
    everything = len(same) == data.columns
    yield finding(
        "error" if everything else "note",
        f"{len(same):,} of {counted(data.columns, 'feature')} "
        f"{either(len(same), 'has', 'have')} the same value in all rows and "
        f"{either(len(same), 'carries', 'carry')} no information: {data.name(same)}.",
        columns=same,
    )


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


def outliers(data: Data) -> Iterator[Finding]:
    """Values far from all others of their feature."""
    sample = data.sampled()
    if len(sample) < 20:
        return
    low, quarter, three, high = np.quantile(sample, [0.05, 0.25, 0.75, 0.95], axis=0)
    alone: list[int] = []
    rows: list[np.ndarray] = []
    heavy: list[int] = []
    width, fence = high - low, three - quarter
    largest, smallest = np.nanmax(sample, axis=0), np.nanmin(sample, axis=0)
    if len(sample) < len(data.x):
        with np.errstate(invalid="ignore"):
            largest, smallest = data.x.max(axis=0), data.x.min(axis=0)
    reach = np.fmax(largest - high, low - smallest)
    # A feature that mostly has one value (a pixel at the border) has no spread to compare with.
    for column in np.flatnonzero((fence > 0) & (reach > 3 * fence) & ~data.coded):
        values = data.x[:, column].astype(np.float64)
        if reach[column] > 5 * width[column]:
            far = _isolated(values, low[column], high[column], 5 * width[column])
            if len(far):
                alone.append(int(column))
                rows.append(far)
                continue
        bounds = quarter[column] - 3 * fence[column], three[column] + 3 * fence[column]
        if ((values < bounds[0]) | (values > bounds[1])).any():
            heavy.append(int(column))
    if alone:
        first, value = rows[0][0], data.x[rows[0][0], alone[0]]
        concerned = np.unique(np.concatenate(rows))
        yield warning(
            f"{counted(len(concerned), 'row')} {either(len(concerned), 'has', 'have')} values far "
            f"from all others, such as {value:g} in feature {data.names[alone[0]]}, row "
            f"{data.numbers[first]}, "
            f"where 90% lie from {low[alone[0]]:.4g} to {high[alone[0]]:.4g}: mistakes, or codes "
            f"for missing values? {either(len(alone), 'Feature', 'Features')}: "
            f"{data.name(np.array(alone))}.",
            concerned,
            np.array(alone),
        )
    if heavy and not data.image:
        yield note(
            f"{len(heavy):,} of {counted(data.columns, 'feature')} "
            f"{either(len(heavy), 'has', 'have')} values more than three interquartile ranges "
            f"outside {either(len(heavy), 'its', 'their')} quartiles: "
            f"{data.name(np.array(heavy))}. A logarithm, or clipping, may help.",
            columns=np.array(heavy),
        )


def _isolated(values: np.ndarray, low: float, high: float, gap: float) -> np.ndarray:
    """Return the few rows that an empty gap separates from the middle of the values."""
    finite = np.isfinite(values)
    ordered = np.unique(values[finite])
    steps = np.diff(ordered)
    far = np.zeros(len(values), bool)
    wide = np.flatnonzero(steps > gap)
    above, below = wide[ordered[wide] >= high], wide[ordered[wide + 1] <= low]
    with np.errstate(invalid="ignore"):
        if len(above):
            far |= values > ordered[above[0]]
        if len(below):
            far |= values < ordered[below[-1] + 1]
    rows = np.flatnonzero(far & finite)
    return rows if len(rows) <= max(1, 0.05 * len(values)) else rows[:0]


def precision(data: Data) -> Iterator[Finding]:
    """Values that float32, in which networks compute, cannot hold or distinguish."""
    columns = [("x", column) for column in data.sampled().T] if not data.image else []
    columns += [("y", data.y)] if data.labels is None and data.y is not None else []
    for number, (argument, values) in enumerate(columns):
        known = values[np.isfinite(values)]
        lost = lost_in_float32(known) if len(known) else ""
        if lost:
            own = argument == "x"
            yield error(
                f"{f'Feature {data.names[number]}' if own else 'y'} has {lost}. Subtract a number "
                f"from all of them, or divide them by one, in float64.",
                columns=np.array([number] if own else [], int),
            )


def scales(data: Data) -> Iterator[Finding]:
    """Features on very different scales, and images that are not scaled."""
    if data.x.dtype.kind in "iu" and data.x.min() >= 0 and 200 <= data.x.max() <= 255:
        yield note(
            f"The values are whole numbers from {data.x.min()} to {data.x.max()}, as in images:",
            advice="scale them with layers.Rescaling(1 / 255).",
        )
        return
    sample = data.sampled()
    spread, extent = deviation(sample, 0), np.where(data.coded, 0, np.ptp(sample, axis=0))
    varied = np.flatnonzero(extent > 0)
    if not len(varied):
        return
    small, large = varied[extent[varied].argmin()], varied[extent[varied].argmax()]
    with np.errstate(over="ignore"):
        ratio = extent[large] / extent[small]
    if ratio >= 100 and not data.image:
        times = f"{ratio:,.0f}" if ratio < 1e9 else f"{ratio:.3g}"
        yield warning(
            f"Feature {data.names[large]} has {times} times the range of feature "
            f"{data.names[small]} ({extent[large]:.3g} and {extent[small]:.3g}): gradient descent "
            f"hardly moves along the small ones.",
            columns=np.array([small, large]),
            advice="Standardize the features.",
        )
    elif spread[large] > 100:
        yield note(
            f"Feature {data.names[large]} has a standard deviation of {spread[large]:.3g}:",
            columns=np.array([large]),
            advice="divide by it to keep weights at the usual size.",
        )
    offset = varied[np.abs(mean(sample, 0)[varied]) / 100 > spread[varied]]
    if len(offset):
        yield note(
            f"The mean is over 100 times the deviation in {data.name(offset)}:",
            columns=offset,
            advice="subtract it.",
        )


def targets(data: Data) -> Iterator[Finding]:
    """Regression targets that are large or small compared with an untrained network's outputs."""
    if data.y is None or data.labels is not None or not np.isfinite(data.y).all():
        return
    middle, spread = float(mean(data.y)), float(deviation(data.y))
    usual = float(np.hypot(middle, spread))
    if usual >= 20 or 0 < spread < 0.01:
        yield finding(
            "warning" if usual >= 1000 else "note",
            f"The targets have the mean {middle:.4g} and the deviation {spread:.3g}, but a network "
            f"starts near 0 with steps of about the learning rate:",
            advice=f"train on (y - {middle:.4g}) / {spread:.3g}, and undo that after the "
            f"prediction (gpunn train does so by itself).",
        )


def order(data: Data) -> Iterator[Finding]:
    """Sorted labels, which matter if the last rows are held out."""
    if data.y is None or len(data.y) < 20 or not np.isfinite(data.y).all():
        return
    y, count = data.y, len(data.y)
    if data.labels is None:
        middle = y - mean(y)
        middle /= size(middle)
        scale = float(middle @ middle)
        relation = float(middle[1:] @ middle[:-1]) / scale if scale else 0.0
        if relation > max(0.5, 6 / np.sqrt(count)):
            yield note(
                f"y is similar to the y of the previous row (correlation {relation:.2f}): are the "
                f"rows sorted, or a time series?",
                advice="validation_split takes the last rows.",
            )
        return
    shares = np.bincount(y, minlength=data.classes) / count
    changes = int(np.sum(y[1:] != y[:-1]))
    chance = float(1 - np.sum(shares**2))  # that two rows drawn at random differ
    expected, deviation = (count - 1) * chance, np.sqrt(count * chance * (1 - chance)) + 1e-9
    if changes < 0.5 * expected and (expected - changes) / deviation > 5:
        last = np.bincount(y[-(count // 5) :], minlength=data.classes)
        absent = data.labels[(last == 0) & (shares > 0)]
        ends = f" The last fifth has none of {listed(absent.tolist())}." if len(absent) else ""
        yield warning(
            f"The rows are sorted by label: neighbours differ {counted(changes, 'time')}, in "
            f"random order {expected:,.0f}.{ends}",
            advice="Shuffle them, or split with validation_strategy='stratified': "
            "validation_split takes the last rows.",
        )
