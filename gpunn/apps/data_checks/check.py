"""Check data for problems before training on them."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gpunn.common.arguments import check_choice, check_integer
from gpunn.common.markup import escaped

from . import checks, train_and_test
from .checked_data import SEVERITIES, Data, Finding

__all__ = ["DataCheckError", "DataReport", "Finding", "check_data"]

CHECKS = (
    checks.missing, checks.labels, checks.duplicates, checks.imbalance, checks.amount,
    checks.constant, checks.relevance, checks.outliers, checks.precision, checks.scales,
    checks.targets, checks.order, train_and_test.leakage, train_and_test.shift,
)


class DataCheckError(ValueError):
    """Raised by `DataReport.raise_on` for findings that are too severe. Its text lists them.

    It is a ``ValueError``, so that a script which prepares data may stop on either.

    >>> from gpunn.utils import DataCheckError, check_data
    >>> report = check_data([[1.0, 2.0], [1.0, float("nan")]] * 30, [0, 1] * 30)
    >>> try:
    ...     report.raise_on("error")
    ... except DataCheckError as error:
    ...     print(str(error).split(":")[0])
    missing
    """


@dataclass
class DataReport:
    """The result of `check_data`: print it, show it in a notebook, or iterate over its findings.

    Attributes:
        findings: the findings, the most severe first.
        summary: one line about the data that were checked.
    """

    summary: str
    findings: list[Finding] = field(default_factory=list)

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)

    def __len__(self) -> int:
        return len(self.findings)

    def of(self, check: str) -> list[Finding]:
        """Return the findings of one check, by its name."""
        return [finding for finding in self.findings if finding.check == check]

    def at_least(self, severity: str) -> list[Finding]:
        """Return the findings of at least a severity (``"note"``, ``"warning"``, ``"error"``)."""
        check_choice("severity", severity, SEVERITIES)
        least = SEVERITIES.index(severity)
        return [f for f in self.findings if SEVERITIES.index(f.severity) >= least]

    def raise_on(self, severity: str = "error") -> DataReport:
        """Return the report itself, unless a finding is at least this severe.

        Raises:
            DataCheckError: if there are such findings, with their text.
        """
        found = self.at_least(severity)
        if found:
            raise DataCheckError("; ".join(f"{f.check}: {f.text}" for f in found))
        return self

    def __str__(self) -> str:
        lines = textwrap.wrap(self.summary, 79)
        for finding in self.findings:
            head = f"{finding.severity:<8} {finding.check}: "
            lines += textwrap.wrap(head + finding.text, 79, subsequent_indent=" " * 9)
        if not self.findings:
            lines.append("Nothing was found.")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """Return the findings as an HTML table for notebooks. All text in it is escaped."""
        rows = []
        for finding in self.findings:
            cells = escaped(finding.check), escaped(finding.text)
            mark = f"<td style='color: {_COLORS[finding.severity]}'>&#9679;</td>"
            severity = f"<td><strong>{escaped(finding.severity)}</strong></td>"
            rest = "".join(f"<td style='text-align: left'>{cell}</td>" for cell in cells)
            rows.append(f"<tr style='vertical-align: top'>{mark}{severity}{rest}</tr>")
        found = f"<table>{''.join(rows)}</table>" if rows else "<div>Nothing was found.</div>"
        return f"<div><div>{escaped(self.summary)}</div>{found}</div>"


# Colors of the findings' marks; legible on white and on black.
_COLORS = {"note": "#3a87c8", "warning": "#d99000", "error": "#e04a3f"}


def check_data(
    x: Any,
    y: Any = None,
    x_test: Any = None,
    y_test: Any = None,
    *,
    task: str | None = None,
    parameters: Any = None,
    names: Sequence[str] | None = None,
    seed: int = 0,
    categories: Sequence[int] = (),
) -> DataReport:
    """Check data for common problems. The data are not changed.

    The checks look for missing values; labels and dtypes that training would misinterpret;
    duplicates, with equal or contradicting labels; classes of very different size; too little data;
    features that are constant or have no visible relation to y (a G-test of independence on at most
    ten bins); outliers; values that float32 cannot distinguish; features on very different scales;
    targets far from 0; and sorted labels. With test data, they also look for exact and near copies
    of training rows, and for features or labels that are distributed
    differently (Kolmogorov-Smirnov test and G-test).

    A *note* is worth knowing. A *warning* deserves a look before training. An *error* would make
    training fail or its result worthless. With more than 10,000 rows, checks that sort use a
    sample of 10,000 drawn with ``seed``.

    Args:
        x: training data (rows, ...) of numbers, or a pandas DataFrame.
        y: labels (rows,), one-hot rows, or regression targets.
        x_test, y_test: test data in the same form.
        task: ``"classification"`` or ``"regression"``; by default inferred from y: a few whole
            numbers, booleans, strings and one-hot rows are classes.
        parameters: number of parameters of a model, or the model, to check the amount of data.
        names: names of the features; by default their indices, or the columns of a DataFrame.
        seed: seed of the sampled rows.
        categories: indices of features that hold category codes, which have no scale.

    Returns:
        A `DataReport`, which prints its findings, the most severe first, and iterates over them.

    Raises:
        ValueError: if the shapes do not match.

    >>> from gpunn.utils import check_data
    >>> report = check_data([[1.0, 2.0], [1.0, float("nan")]] * 30, [0, 1] * 30)
    >>> [(finding.severity, finding.check) for finding in report][0]
    ('error', 'missing')
    >>> report.of("missing")[0].columns.tolist()
    [1]
    """
    if task is not None:
        check_choice("task", task, ("classification", "regression"))
    if parameters is not None and not hasattr(parameters, "count_params"):
        check_integer("parameters", parameters, 0)
    count = parameters.count_params() if hasattr(parameters, "count_params") else parameters
    data = Data(x, y, x_test, y_test, task, count, names, check_integer("seed", seed, 0))
    data.coded[np.isin(data.kept, categories)] = True
    findings = [*data.problems]
    for finding in found_by(CHECKS if data.columns else (), data):
        finding.columns = data.kept[finding.columns]  # as indices of the given columns
        findings.append(finding)
    findings.sort(key=lambda finding: -SEVERITIES.index(finding.severity))
    return DataReport(data.summary(), findings)


def found_by(
    functions: Sequence[Callable[[Data], Iterator[Finding]]], data: Data
) -> Iterator[Finding]:
    """Yield the findings of checks, with the name of the check."""
    for check in functions:
        for finding in check(data):
            finding.check = finding.check or check.__name__
            yield finding
