"""What may be wrong with data, before anything is trained on them."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gpunn.common.arguments import check_choice, check_integer
from gpunn.common.markup import escaped

from . import checks, train_and_test
from .checked_data import SEVERITIES, Data, Finding

__all__ = ["DataCheckError", "DataReport", "Finding", "check_data"]

CHECKS = (
    checks.missing,
    checks.labels,
    checks.duplicates,
    checks.imbalance,
    checks.amount,
    checks.constant,
    checks.relevance,
    checks.outliers,
    checks.precision,
    checks.scales,
    checks.targets,
    checks.order,
    train_and_test.leakage,
    train_and_test.shift,
)


class DataCheckError(ValueError):
    """What `DataReport.raise_on` raises."""


@dataclass
class DataReport:
    """What `check_data` found: ``print`` it, look at it in a notebook, iterate over its findings.

    Attributes:
        findings: the worst first.
        summary: what was looked at, in a line.
    """

    summary: str
    findings: list[Finding] = field(default_factory=list)

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)

    def __len__(self) -> int:
        return len(self.findings)

    def of(self, check: str) -> list[Finding]:
        """The findings of one check, by its name."""
        return [finding for finding in self.findings if finding.check == check]

    def at_least(self, severity: str) -> list[Finding]:
        """The findings of a severity (``"note"``, ``"warning"``, ``"error"``) or a worse one."""
        check_choice("severity", severity, SEVERITIES)
        least = SEVERITIES.index(severity)
        return [f for f in self.findings if SEVERITIES.index(f.severity) >= least]

    def raise_on(self, severity: str = "error") -> DataReport:
        """The report itself, if nothing in it is so severe.

        Raises:
            DataCheckError: otherwise, with the text of those findings.
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
        """What a notebook shows: the findings as a table. All text in it is escaped."""
        rows = []
        for finding in self.findings:
            cells = escaped(finding.check), escaped(finding.text)
            mark = f"<td style='color: {_COLORS[finding.severity]}'>&#9679;</td>"
            said = f"<td><strong>{escaped(finding.severity)}</strong></td>"
            rest = "".join(f"<td style='text-align: left'>{cell}</td>" for cell in cells)
            rows.append(f"<tr style='vertical-align: top'>{mark}{said}{rest}</tr>")
        found = f"<table>{''.join(rows)}</table>" if rows else "<div>Nothing was found.</div>"
        return f"<div><div>{escaped(self.summary)}</div>{found}</div>"


# Of the marks of findings; legible on white and on black.
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
    """Look for what commonly goes wrong with data. Nothing is changed.

    Looked for are: missing values; labels and dtypes that training would not take as meant;
    duplicates, contradicting labels among them; classes of very different size; too little
    data; features that are constant or have no visible relation to y (a G-test of independence
    on at most ten bins); outliers; numbers that float32 does not tell apart; features on very
    different scales; targets far from 0; labels that come in order; and, with test data, rows of
    them among the training data, exact and near, and features or labels that are distributed
    otherwise (Kolmogorov-Smirnov and G-test).

    A *note* is worth knowing, a *warning* worth a look before training, an *error* would make
    training fail or its result worthless. Where there are more than 10,000 rows, what needs
    sorting is done on that many, drawn by ``seed``.

    Args:
        x: training data (rows, ...), of numbers; a pandas table too.
        y: labels (rows,), one-hot rows, or numbers to be predicted.
        x_test, y_test: data held back, in the same form.
        task: ``"classification"`` or ``"regression"``; by default told from y: whole numbers
            of few values, truth values, texts and one-hot rows are classes.
        parameters: how many a model has, or the model: is there enough data for it?
        names: of the features; by default their numbers, or the columns of a table.
        seed: of the rows that are drawn.
        categories: numbers of features that hold numbered categories: they have no scale.

    Raises:
        ValueError: for shapes that do not belong together.

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
    if data.columns:
        for check in CHECKS:
            for finding in check(data):
                finding.check = finding.check or check.__name__
                finding.columns = data.kept[finding.columns]  # as they were given
                findings.append(finding)
    findings.sort(key=lambda finding: -SEVERITIES.index(finding.severity))
    return DataReport(data.summary(), findings)
