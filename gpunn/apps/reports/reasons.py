"""The parts of an evaluation that say why: importance of the columns, reasons of mistakes."""

from __future__ import annotations

from typing import Any

from gpunn.common.markup import Markup, element
from gpunn.common.markup.charts import LARGEST, bar
from gpunn.common.names import first_few, significant

from .parts import number, section, table

COLUMNS = 30  # of which the importance is shown


def important(found: dict[str, Any]) -> Markup:
    """Render the permutation importance of a table's columns."""
    entries = [one for one in found["importance"] if _drawn(one["increase"])]
    if not entries:
        return Markup("")
    loss = "log loss" if found["kind"] == "classes" else "RMSE"
    shown = entries[:COLUMNS]
    reach = [(one["increase"], one["error"] if _drawn(one["error"]) else 0.0) for one in shown]
    ends = min(0.0, *(v - e for v, e in reach)), max(1e-12, *(v + e for v, e in reach))
    lines = []
    for one, (value, error) in zip(shown, reach, strict=True):
        text = f"{significant(value, 3)} \u00b1 {significant(error, 2)}"
        picture = bar(value, error, ends, label=f"{one['column']}: {text}")
        lines.append((one["column"], picture, text))
    hidden = len(entries) - len(shown)
    rest = f" {hidden:,} less important columns are not shown." if hidden else ""
    text = (
        f"By how much the {loss} on these rows increases when a column's values are shuffled, "
        f"with the standard error of the mean. Columns that tell the same look less important than "
        f"they are.{rest}"
    )
    return section(
        "Importance of the columns", element("p", text),
        table(("column", "", "increase"), lines, class_="bars"),
    )


def _drawn(value: float | None) -> bool:
    return value is not None and abs(value) < LARGEST


def reasons(found: dict[str, Any]) -> Markup:
    """Render why the model made its mistakes: similar training rows, and changes that help."""
    explained = [one for one in found["mistakes"] if one["why"]]
    if not explained:
        return Markup("")
    text = (
        "For each mistake: the smallest change of one or two columns that makes the answer right, "
        "among values of the training rows; and the nearest training rows. Distances are "
        "those of the prepared columns: numbers in standard deviations, categories 1.41 apart. "
        "Rows are numbered from 1, as in the table."
    )
    if found["kind"] == "numbers":
        text += " An answer counts as right if its error is at most the mean absolute error."
    return element(
        "div", element("h3", "Why"), element("p", text),
        [_reason(one, found.get("classes")) for one in explained], class_="why",
    )


def _reason(mistake: dict[str, Any], classes: list[str] | None) -> Markup:
    why, near = mistake["why"], mistake["why"]["near"]
    true, said = (
        classes[mistake[key]] if classes else number(mistake[key]) for key in ("true", "said")
    )
    verb = "taken for" if classes else "predicted as"
    change = why["change"]
    if change is None:
        helps = "No change of one or two columns was found that makes the answer right."
    else:
        parts = [f"{name} {new} instead of {old or 'missing'}"
                 for name, old, new in change["columns"]]
        helps = f"With {' and '.join(parts)} the answer is {change['answer']}."
    targets = first_few([one["target"] for one in near], 10)
    like = f" The nearest training rows have {targets}." if near else ""
    summary = element(
        "summary", element("strong", f"Row {mistake['row']:,}"),
        f": {true}, {verb} {said}. {helps}{like}",
    )
    columns = [name for name, _ in mistake["cells"]]
    lines = [(f"{mistake['row']:,}", true, "", *[text for _, text in mistake["cells"]])]
    for one in near:
        cells = dict(map(tuple, one["cells"]))
        lines.append((f"{one['row']:,}", one["target"], number(one["distance"]),
                      *[cells.get(name, "") for name in columns]))
    head = ("row", "true", "distance", *columns)
    return element("details", summary, table(head, lines))
