"""The section of a report with what was found of each candidate of a search."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gpunn.common.markup import Markup, element, joined
from gpunn.common.names import counted, significant

from .parts import number, section, table

SHOWN = 20  # candidates that are in view; the others are in a part to open


def leaderboard(tried: Sequence[dict[str, Any]]) -> Markup:
    """Render what was found of each candidate of a search."""
    if not tried:
        return Markup("")
    names = list(dict.fromkeys(name for one in tried for name in one["figures"]))
    head = ("model", *names, "loss", "folds", "seconds a fold", "parameters")
    lines = [
        (
            _named(one), *[number(one["figures"].get(name)) for name in names], _loss(one),
            f"{one['folds']:,}",
            "-" if one["seconds"] is None else significant(one["seconds"], 2),
            f"{one['parameters']:,}",
        )
        for one in tried
    ]
    loss = "squared error in variances of the target (of large errors, Huber's loss)"
    text = (
        f"Found by cross-validation, the best first. The loss is the "
        f"{'cross-entropy' if 'accuracy' in names else loss}, with the standard error of its mean "
        f"over the rows. Models that saw fewer folds were not in the better half on the first "
        f"ones. The seconds are those of all lengths of a training, beside another one."
    )
    rest = lines[SHOWN:]
    more = element("summary", f"{counted(len(rest), 'more model')}")
    return section(
        "Models tried", element("p", text), table(head, lines[:SHOWN], class_="wide tried"),
        element("details", more, table(head, rest, class_="wide tried")) if rest else [],
    )


def _named(one: dict[str, Any]) -> Markup:
    """Make the heading of a candidate's row: its name, and whether and how it was taken."""
    chosen = element("strong", "In the answer. ") if one["chosen"] else ""
    return joined(one["model"], element("small", chosen, one["training"]))


def _loss(one: dict[str, Any]) -> str:
    if one["loss"] is None:
        return "diverged"
    error = "" if one["error"] is None else f" \u00b1 {significant(one['error'], 2)}"
    return f"{significant(one['loss'], 3)}{error}"
