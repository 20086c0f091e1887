"""Expressions as kernels: the text that is composed of each, run on the CPU and compiled."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
from comparisons.samples import assert_alike, make_card, on_both
from expression_cases import ExpressionCase, Size, every_case

CARD = make_card()
CASES = [
    pytest.param(case, size, id=f"{dtype}, {case.name}, {size[0]} by {size[1]}")
    for dtype in ("float32", "float64")
    for case in every_case(dtype)
    for size in case.sizes
]


@pytest.mark.parametrize(("case", "size"), CASES)
def test_an_expression_is_that_of_numpy(case: ExpressionCase, size: Size) -> None:
    """With the same bits in whatever order threads run, and nothing written beside its arrays."""
    arrays: Any = case.arrays(size, np.random.default_rng(5))
    assert_alike(*on_both(CARD, partial(case.ask, size=size), **arrays), case.expression.dtype)
