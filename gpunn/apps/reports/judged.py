"""The sections with a model's evaluation: classification or regression."""

from __future__ import annotations

import math
from typing import Any

from gpunn.common.markup import Markup, element, joined
from gpunn.common.markup.charts import LARGEST, Frame, bar, ticks
from gpunn.common.names import first_few, significant

from .parts import figure, number, section, table

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


def judged(end: dict[str, Any], show_data: bool) -> Markup:
    """Render the evaluation in a run's last line."""
    found = end["results"]
    if found is None:
        return section("Evaluation", element("p", end["why_none"]))
    rows = f"{found['rows']:,} rows"
    if found["rows"] < found["of"]:
        rows = f"{rows}, evenly spaced among {found['of']:,}"
    terms = [
        element("div", element("dt", name), element("dd", number(value)))
        for name, value in found["figures"].items()
    ]
    first = section(
        "Evaluation",
        element("p", f"On {found['part']} ({rows}):"),
        element("dl", terms, class_="row figures"),
        _compared(found["compared"]) if found["compared"] else [],
    )
    sections = _of_classes if found["kind"] == "classes" else _of_numbers
    return joined(first, important(found), *sections(found, show_data))


def _compared(models: dict[str, dict[str, float | None]]) -> Markup:
    """Make a table of the metrics of the network and of simpler models on the same rows."""
    names = list(dict.fromkeys(name for one in models.values() for name in one))
    lines = [(model, *[number(one.get(n)) for n in names]) for model, one in models.items()]
    return table(("model", *names), lines, caption="Compared with simpler models.")


# -- classes


def _of_classes(found: dict[str, Any], show_data: bool) -> list[Markup]:
    names = found["classes"]
    confused = [(f"{names[true]} taken for {names[predicted]}", f"{count:,}")
                for true, predicted, count in found["confused"]]
    often = [table(("Most often", "rows"), confused)] if confused else []
    matrix = [_matrix(names, found["confusion"])] if found["confusion"] else []
    parts = [
        section("Confusion matrix",
                element("div", matrix, often, class_="row") if found["wrong"] else
                element("p", "No row was misclassified.")),
    ]
    if found["calibration"]:
        parts.append(_calibration(found["calibration"]))
    if show_data and found["mistakes"]:
        parts.append(_mistaken(found))
    return parts


def _matrix(names: list[str], counts: list[list[int]]) -> Markup:
    lines = []
    for true, row in enumerate(counts):
        total = sum(row) or 1
        cells = []
        for predicted, count in enumerate(row):
            shade = math.ceil(4 * math.sqrt(count / total)) if count else 0
            right = " right" if predicted == true else ""
            cells.append(element("td", f"{count:,}" if count else "", class_=f"s{shade}{right}"))
        lines.append(element("tr", element("th", names[true], scope="row"), cells))
    head = element("tr", element("th", "true \\ predicted", scope="col"),
                   [element("th", name, scope="col") for name in names])
    caption = "Rows of each true class by predicted class. Framed: correct predictions."
    whole = element("table", element("caption", caption), element("thead", head),
                    element("tbody", lines), class_="confusion")
    return element("div", whole, class_="scroll")


def _calibration(bins: list[list[float]]) -> Markup:
    rows = sum(count for count, _, _ in bins) or 1
    error = sum(count * abs(stated - right) for count, stated, right in bins) / rows
    frame = Frame("accuracy", ticks(0, 1), ticks(0, 1), x_label="predicted probability",
                  label=f"Reliability: accuracy against the predicted probability; they differ "
                  f"by {error:.3f} on average", size=(300, 300))
    frame.diagonal()
    frame.lines({"": [(stated, right) for _, stated, right in bins]}, dots=True)
    cells = [(f"{stated:.3f}", f"{right:.3f}", f"{count:,.0f}") for count, stated, right in bins]
    return section(
        "Calibration",
        element("div",
                figure(frame.svg(), "On the dotted line the accuracy equals the predicted "
                       "probability; below it the model is overconfident."),
                table(("predicted", "correct", "rows"), cells,
                      caption=f"Expected calibration error: {error:.4f}"), class_="row"),
    )


def _mistaken(found: dict[str, Any]) -> Markup:
    names, shown = found["classes"], found["mistakes"]
    which = "with the lowest probability of the right class"
    summary = f"The {len(shown)} {which}, of {found['wrong']:,}."
    if any(one["picture"] for one in shown):
        entries = []
        for one in shown:
            text = f"{names[one['true']]} taken for {names[one['said']]}"
            picture = element("img", src=one["picture"], alt=f"row {one['row']}: {text}", width=84)
            sure = "" if one["probability"] is None else f", {one['probability']:.1%}"
            entries.append(element("li", [picture] if one["picture"] else [], element("div", text),
                                   element("div", f"row {one['row']}{sure}")))
        return section("The worst mistakes", element("p", summary),
                       element("ul", entries, class_="mistakes"))
    answers = [(names[one["true"]], names[one["said"]], number(one["probability"]))
               for one in shown]
    return section("The worst mistakes", element("p", summary),
                   _rows(shown, ("true", "taken for", "probability"), answers),
                   reasons(found))


def _rows(shown: list[dict[str, Any]], head: tuple[str, ...], answers: list[Any]) -> Markup:
    """Make a table of wrong answers, each with its row."""
    columns = [name for name, _ in shown[0]["cells"]]
    lines = [
        (f"{one['row']:,}", *answer, *[dict(map(tuple, one["cells"])).get(n, "") for n in columns])
        for one, answer in zip(shown, answers, strict=True)
    ]
    return table(("row", *head, *columns), lines)


# -- numbers


def _of_numbers(found: dict[str, Any], show_data: bool) -> list[Markup]:
    edges, counts = found["edges"], found["residuals"]
    drawn = []
    if show_data and found["points"]:
        values = [value for point in found["points"] for value in point]
        both = ticks(min(values), max(values))
        frame = Frame("predicted", both, both, x_label="true", size=(320, 320),
                      label="Predicted against true values")
        frame.diagonal()
        frame.dots([(true, predicted) for true, predicted in found["points"]])
        many = f"{len(found['points'])} values. On the dotted line the prediction is exact."
        drawn.append(figure(frame.svg(), many))
    most = max(counts, default=0)
    frame = Frame("rows", ticks(edges[0], edges[-1]), ticks(0, most), x_label="predicted - true",
                  label=f"Histogram of the residuals, from {edges[0]:.4g} to {edges[-1]:.4g}",
                  size=(360, 320))
    frame.bars(edges, counts)
    caption = "Residuals. The most extreme one percent are counted in the outermost bins."
    drawn.append(figure(frame.svg(), caption))
    parts = [section("Predicted and true", element("div", drawn, class_="row"))]
    if show_data and found["mistakes"]:
        shown = found["mistakes"]
        answers = [[number(one[key]) for key in ("true", "said", "error")] for one in shown]
        rows = _rows(shown, ("true", "predicted", "error"), answers)
        parts.append(section("The worst mistakes", rows, reasons(found)))
    return parts
