"""Check data before training: a table with planted faults, and its repair.

600 plants of three kinds, with four measurements and a class. The script plants typical faults in
a clean table, one at a time: missing values, duplicate rows, one of them with another
class, a constant column, an irrelevant column, a misplaced
decimal point, a rare class, rows sorted by class, training rows among the held-out
rows, a column measured differently there, and far too few rows. `utils.check_data` reports its
findings for each fault; then for a table that has most of them at once, and after its repair.

The command line does the same with a file:

    gpunn check-data plants.csv --target kind

Run:       python examples/check_data.py
Takes:     about three seconds.
Prints:    the findings for each planted fault; the output of the command for the table that has
           most of them; and the remaining findings for the repaired one.
Saves:     plants.csv, the table with the faults; and check_data.png, if matplotlib is installed:
           two columns of it, before and after the repair.
"""

import numpy as np

from gpunn import plots
from gpunn.apps import cli
from gpunn.utils import check_data

NAMES = ["height", "width", "leaves", "weight"]
MISSING, COPIES, SLIPS, BEHIND = (5, 42), 12, 3, 120


def draw(rows=600, seed=0):
    """Return a clean table: measurements (rows, 4) that depend on the class, and the classes."""
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(rows) % 3)
    return rng.normal(size=(rows, 4)) + y[:, None], y


def missing(x, y):
    x[MISSING, 1] = np.nan
    return x, y


def duplicates(x, y):
    return np.vstack([x, x[:COPIES]]), np.append(y, y[:COPIES])


def contradiction(x, y):
    return np.vstack([x, x[:1]]), np.append(y, (y[0] + 1) % 3)


def constant(x, y):
    x[:, 2] = 7.0
    return x, y


def irrelevant(x, y):
    x[:, 2] = np.random.default_rng(5).normal(size=len(x))
    return x, y


def outliers(x, y):
    x[100 : 100 + SLIPS, 3] *= 1000
    return x, y


def imbalance(x, y):
    keep = np.flatnonzero((y != 2) | (np.cumsum(y == 2) <= 6))
    return x[keep], y[keep]


def order(x, y):
    rows = np.argsort(y, kind="stable")
    return x[rows], y[rows]


def too_little(x, y):
    return x[:24], y[:24]


def nothing(x, y):
    return x, y


# The faults planted in the training data, by the check that should find them.
FAULTS = {
    "none": nothing, "missing": missing, "duplicates": duplicates,
    "contradictions": contradiction, "constant": constant, "relevance": irrelevant,
    "outliers": outliers, "imbalance": imbalance, "order": order, "amount": too_little,
}  # fmt: skip


def leakage(x, x_test):
    x_test[:20] = x[:20]


def shift(x, x_test):
    x_test[:, 0] += 1.0


FAULTS_OF_TESTS = {"leakage": leakage, "shift": shift}


def one_by_one():
    """Check tables with a single fault each: {fault: report}."""
    reports = {}
    for name, fault in FAULTS.items():
        reports[name] = check_data(*fault(*draw()), names=NAMES)
    for name, fault in FAULTS_OF_TESTS.items():
        (x, y), (x_test, y_test) = draw(), draw(200, seed=1)
        fault(x, x_test)
        reports[name] = check_data(x, y, x_test, y_test, names=NAMES)
    return reports


def spoilt():
    """Return a table with most of the faults at once."""
    x, y = draw()
    for fault in (imbalance, order, missing, outliers, constant, duplicates):
        x, y = fault(x, y)
    return x, y


def repair(x, y, seed=0):
    """Drop incomplete, wrong and duplicate rows, a constant column and the rarest class; shuffle.

    Six plants are too few to learn a class from: without more of them it is left out.
    """
    middle = np.nanmedian(x, axis=0)
    spread = np.nanmedian(np.abs(x - middle), axis=0)
    rows = ~np.isnan(x).any(axis=1) & (np.abs(x - middle) <= 20 * spread).all(axis=1)
    first = np.zeros(len(x), bool)
    first[np.unique(x, axis=0, return_index=True)[1]] = True
    counts = np.bincount(y)
    rows &= first & (counts[y] >= 10)
    kept = np.random.default_rng(seed).permutation(np.flatnonzero(rows))
    columns = spread > 0
    return x[kept][:, columns], y[kept], [n for n, keep in zip(NAMES, columns, strict=True) if keep]


def write(path, x, y):
    """Write a CSV file with the column names in its first line."""
    with open(path, "w", encoding="utf-8") as file:
        file.write(",".join([*NAMES, "kind"]) + "\n")
        for row, label in zip(x, y, strict=True):
            cells = ["" if np.isnan(value) else f"{value:.6f}" for value in row]
            file.write(",".join([*cells, str(label)]) + "\n")


def picture(before, after):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.8), layout="constrained")
    for ax, (title, (x, y, names)) in zip(
        figure.subplots(1, 2), {"As it came": before, "Repaired": after}.items(), strict=True
    ):
        columns = [0, len(names) - 1]
        plots.points(x[:, columns], y, names=[names[c] for c in columns], title=title, ax=ax)
    figure.savefig("check_data.png", dpi=150)


def main():
    print(f"{'planted':18}found")
    for name, report in one_by_one().items():
        found = [f"{finding.check} ({finding.severity})" for finding in report]
        print(f"{name:18}{', '.join(found) or '-'}")

    x, y = spoilt()
    write("plants.csv", x, y)
    print("\n$ gpunn check-data plants.csv --target kind")
    status = cli.main(["check-data", "plants.csv", "--target", "kind"])
    print(f"(exit status {status})")
    after = repair(x, y)
    print("\nRepaired:")
    print(check_data(*after[:2], names=after[2]).raise_on("note"))
    try:
        picture((x, y, NAMES), after)
    except ImportError:
        print('no picture: pip install "gpunn[plot]"')


if __name__ == "__main__":
    main()
