"""Numbers among the arguments of a compiled function are Python's; those that change and only enter
computations become inputs of its program."""

from __future__ import annotations

import contextlib
import json
import math
from typing import Any

import numpy as np
import pytest
from properties.functions_and_python import Step, assert_alike, eagerly, results

import gpunn
from gpunn import layers, ops

ONE = np.array([1.0])

pytestmark = [
    pytest.mark.usefixtures("doubles"),
    pytest.mark.filterwarnings("ignore:.*runs in Python"),
]

NUMBERS: dict[str, tuple[Step, list[Any], bool]] = {
    "power": (lambda x, n: x * 10**-n, [1, 2, 3, 4, 5, 6], False),
    "beyond int32": (lambda x, n: x + n * n, [1, 2, 3, 50_000, 60_000, 70_000], False),
    "key": (lambda x, n: x + {k: 2.0 * k for k in range(9)}[n], [0, 1, 2, 3, 4, 5], False),
    "member": (lambda x, n: x + (1 if n in {2, 5} else 0), [1, 2, 3, 4, 5, 5], False),
    "text": (lambda x, n: x + float(f"{n}.5"), [1, 2, 3, 4, 5, 6], False),
    "range": (lambda x, n: sum((x * k for k in range(n)), x), [1, 2, 3, 4, 5, 6], False),
    "entry": (lambda x, n: [x, x * 2, x * 3, x * 4, x * 5][n], [0, 1, 2, 3, 4, 4], False),
    "condition": (lambda x, b: x + (0 if b > 2.5 else 1), [1.0, 2.0, 3.0, 4.0, 1.5, 5.0], False),
    "large": (lambda x, b: x + (1 if b == 1e60 else 0), [1e60, 1.0, 1e60, 2.0, 1e60], False),
    "of math": (lambda x, b: x * math.exp(b), [0.1, 0.2, 0.3, 0.4, 0.5], False),
    "factor": (lambda x, b: x * b, [0.1, 0.2, 0.3, 0.4, 0.5, 1e60], True),
    "both": (lambda x, b: (1 - b) * x + b / 3 * x * x, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6], True),
    "axis": (lambda x, n: ops.sum(ops.reshape(x, (1, 1)), n), [0, 1, 0, 1, 1, 0], False),
    "equal to a float": (lambda x, n: x * (100 if n == 1.0 else 2), [0, 1, 2, 3, 1], False),
    "one of floats": (lambda x, n: x * (5 if n in (1.0, 2.0) else 2), [0, 1, 2, 3, 1], False),
    "unequal to a float": (lambda x, n: x * (5 if n != 1.0 else 2), [0, 1, 2, 3, 1], False),
    "exponent of a float": (lambda x, n: x * 0.9**n, [0, 1, 2, 3, 4, 5], False),
    "root": (lambda x, n: x * (n + 1) ** -0.5, [0, 1, 2, 3, 4, 5], False),
    "with floats": (
        lambda x, n: x * (7.5 // (n + 1) + n // 0.3 + 7.5 % (n + 1) + n % 0.3
                          + divmod(7.5, n + 1)[1]
                          + sorted([n, 2, 0.5])[0] + (0.5 < n) + 0.9**n),  # noqa: SIM300
        [0, 1, 2, 3, 4, 5], False,
    ),
    "of integers": (lambda x, n: x * ((n & 6) + (1 << n) + ~n + pow(n, 3, 5)), [0, 1, 2, 3], False),
    "alone": (lambda x, b: b * 3, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6], True),
}  # fmt: skip


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_of_python_are_pythons(name: str, backend: str) -> None:
    f, values, is_compiled = NUMBERS[name]
    calls = [(ONE, value) for value in values]
    gpunn.use_backend(backend)
    step = gpunn.function(f)
    wanted = eagerly(lambda: results(gpunn.function(f), calls))
    assert_alike(results(step, calls), wanted)
    assert not is_compiled or step.compiled
    assert isinstance(step(ONE, values[0]), (float, int)) is (name == "alone")


def test_what_was_given_to_an_earlier_call_is_no_argument_of_this_one() -> None:
    kept: list[Any] = []

    def step(x: Any, b: float) -> Any:
        if not kept:
            kept.append(b)
        return x * kept[0] + b

    compiled = gpunn.function(step)
    found = [compiled(ONE, b)[0].item() for b in (2.0, 3.0, 4.0, 5.0, 6.0)]
    assert found == [4.0, 5.0, 6.0, 7.0, 8.0]


def test_a_number_that_changes_from_the_first_call_on_becomes_an_input() -> None:
    """Although the first call makes weights and slots, and another number is always the same."""
    model = gpunn.Sequential([layers.Dense(2)])
    optimizer = gpunn.optimizers.Adam()

    def step(x: Any, b: float, n: int) -> Any:
        with gpunn.GradientTape() as tape:
            loss = b * ops.mean(model(x)[..., n] ** 2)
        weights = model.trainable_variables
        optimizer.apply(tape.gradient(loss, weights), weights)
        return loss / b

    compiled = gpunn.function(step)
    for k in range(6):
        compiled(np.ones((3 if k != 4 else 2, 3)), 0.9**k, 1)
    assert compiled.compiled


def test_what_takes_no_number_in_disguise_gets_plain_ones_from_then_on() -> None:
    step = gpunn.function(lambda x, n: x * len(json.dumps({"n": n})))
    found = []
    for n in range(8):
        with contextlib.suppress(TypeError):
            found.append(step(ONE, n)[0].item())
    assert len(found) >= 7 and set(found) == {8.0}


def test_own_checks_of_types_get_plain_numbers_and_other_errors_change_nothing() -> None:
    def checked(x: Any, n: Any) -> Any:
        if type(n) is not int:
            raise ValueError("no int")
        return x * n

    step, found = gpunn.function(checked), []
    for n in range(12):
        with contextlib.suppress(ValueError):
            found.append(step(ONE, n)[0].item())
    assert len(found) >= 9 and found[-6:] == [6.0, 7.0, 8.0, 9.0, 10.0, 11.0]

    fails = [False]

    def unlucky(x: Any, n: Any) -> Any:
        if fails[0]:
            raise ValueError("by chance")
        return x * n

    step = gpunn.function(unlucky)
    for n in range(12):
        if n == 3:
            fails[0] = True
            with pytest.raises(ValueError, match="by chance"):
                step(ONE, n)
            fails[0] = False
        assert step(ONE, n)[0].item() == n
    assert step.compiled
