"""Comparison of each kernel with the NumPy backend, for any shape, dtype and kind of values.

`COMPARISONS` has a comparison for every operation of the contract that is a kernel, and for
everything that registered formulas need. A comparison raises AssertionError if the two backends
differ, and RuntimeError if the kernel did something that would fail on a GPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import registered

from .expressions import EXPRESSIONS, expression, expressions_in_steps
from .formulas import (
    ACTIVATIONS,
    LOSSES,
    METRICS,
    OPTIMIZERS,
    activation,
    label,
    loss,
    many_bins,
    metric,
)
from .gather_scatter import checked_numbers, rows_of_places
from .layers import (
    attention,
    batch_normalization,
    column_sums,
    columns,
    conversion,
    convolution,
    convolution_of_groups,
    convolution_with_few_rows,
    convolution_without_patches,
    dropout,
    layer_normalization,
    layout,
    noise,
    pooled_convolution,
    pooling,
    rounded_products,
    sums_of_many_rows,
)
from .samples import SOURCES, Comparison
from .steps import (
    advance,
    clip,
    constrain,
    fused_steps,
    fused_updates,
    optimizer,
    persistent_evaluation,
    persistent_scan,
    persistent_steps,
    persistent_updates,
    products,
    regularize,
    schedule,
    shared_launch,
    stacked_products,
    sum_over_one_rank,
)


def _comparisons() -> Iterator[tuple[str, Comparison]]:
    for compare, formulas in (
        (activation, ACTIVATIONS), (loss, LOSSES), (metric, METRICS), (optimizer, OPTIMIZERS),
    ):  # fmt: skip
        for formula in formulas:
            yield f"{compare.__name__} {label(formula)}", partial(compare, formula)
    for kind, compare in (("schedule", schedule), ("constraint", constrain)):
        for name, arguments in registered.cases(kind):
            formula = registered.make(kind, name, arguments)
            called = label(formula) if kind == "schedule" else repr(formula)
            yield f"{kind} {called}", partial(compare, formula)
    yield "regularize", regularize
    for by in ("value", "norm", "global_norm"):
        yield f"clip by {by}", partial(clip, by)
    for target in ("float32", "float64", "int32"):
        for source in SOURCES:
            yield f"{source} to {target}", partial(conversion, source, target)
    for name in EXPRESSIONS:
        yield f"expression of {name}", partial(expression, name)
    programs = (
        shared_launch, products, stacked_products, persistent_steps, persistent_scan,
        persistent_updates, persistent_evaluation, fused_steps, fused_updates,
        expressions_in_steps,
    )  # fmt: skip
    normalizations = (batch_normalization, layer_normalization, noise)
    on_images = (
        convolution, convolution_of_groups, convolution_with_few_rows, convolution_without_patches,
        pooled_convolution, rounded_products, pooling, layout, sums_of_many_rows,
    )  # fmt: skip
    passes = (attention, column_sums, columns, dropout, many_bins)
    by_places = rows_of_places, checked_numbers
    ends = sum_over_one_rank, advance
    for compare in (*passes, *normalizations, *on_images, *by_places, *ends, *programs):
        yield compare.__name__, compare


COMPARISONS = dict(_comparisons())
assert len(COMPARISONS) == sum(1 for _ in _comparisons())  # each has a unique name
