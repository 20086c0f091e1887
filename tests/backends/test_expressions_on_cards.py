"""Expressions on a card: the kernels that are composed of them, against NumPy."""

from __future__ import annotations

import pytest
from comparisons.samples import assert_alike, make_card
from expression_cases import ExpressionCase, every_case

from gpunn.backends import get_backend

CASES = {(dtype, case.name): case for dtype in ("float32", "float64") for case in every_case(dtype)}
CARD = make_card()


@pytest.mark.parametrize("case", CASES.values(), ids=[" ".join(key) for key in CASES])
def test_as_numpy(case: ExpressionCase) -> None:
    """In whatever order threads run, with the same bits."""
    numbers = case.arrays()
    expected = case.run(get_backend("numpy"), numbers)
    assert_alike(expected, case.run(CARD, numbers), case.expression.dtype)
