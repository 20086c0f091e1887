"""Each kernel against the NumPy backend, on any shape, type and kind of numbers.

`COMPARISONS` has a comparison for every operation of the contract that is a kernel, and
for everything that registered formulas ask of it. It raises AssertionError where the two
backends differ, and RuntimeError where the kernel did what a card would not forgive.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import emulated
import numpy as np
import registered

import gpunn
from gpunn.backends.contract.backend import Backend
from gpunn.backends.contract.control import BATCHES, PASS, POSITION, UPDATES, Control
from gpunn.backends.cupy.backend import CupyBackend
from gpunn.backends.cupy.launch import parts as kernel_source
from gpunn.backends.shared.geometry import Geometry
from gpunn.backends.shared.order import Order
from gpunn.common import registry
from gpunn.core.arena import Arena, Parameter

NUMPY: Backend = gpunn.backends.get_backend("numpy")
DTYPES = ("float32", "float64")
# By the norm. The n roundings of a sum of n numbers, each of up to u = 2^-24 or 2^-53 of it, come
# to sqrt(n) u, if they are as often up as down. Sums of float32 are of up to 1023 numbers here:
# 32 u = 1.9e-6. Those of float64, a metric's among them, of up to 20,000: 141 u = 1.6e-14, and
# twice as much if they lean to one side.
TOLERANCE = {"float32": 2e-6, "float64": 3e-14}
SOURCES = [
    np.dtype({"float": "float32", "double": "float64"}.get(name, name)).name
    for name in kernel_source.options("Source")
]
ORDERS = (0, 1, 2, 3)  # of threads: upwards, downwards and two shuffled


def make_card(**how: Any) -> CupyBackend:
    """A CuPy backend on the CPU whose every launch is checked, see `HostKernels`."""
    kernels = emulated.EmulatedKernels(**{"orders": ORDERS, **how})
    return CupyBackend(
        emulated.ArrayModule(), kernels, emulated.Products(), emulated.STREAM,
        name="emulated",
    )  # fmt: skip


def on_both(
    card: Backend,
    operation: Callable[[Backend, dict[str, Any]], None],
    **arrays: np.ndarray | None,
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Run ``operation(backend, arrays)`` on copies of the arrays; what they hold afterwards."""
    results = []
    for backend in (NUMPY, card):
        mine = {
            name: None if array is None else backend.upload(array.copy())
            for name, array in arrays.items()
        }
        with np.errstate(all="ignore"):
            operation(backend, mine)
        results.append({n: backend.read(a) for n, a in mine.items() if a is not None})
    return results[0], results[1]


def assert_alike(
    a: dict[str, np.ndarray], b: dict[str, np.ndarray], dtype: str, size: float = 0.0
) -> None:
    """Compare by the norm of the difference: two ways to sum differ in single small elements.

    ``size`` is the norm of what was summed or subtracted, where the result may be far smaller.
    """
    assert a.keys() == b.keys()
    size = max(size, 1e-30)  # what is smaller makes no difference to anyone
    for name in a:
        assert a[name].dtype == b[name].dtype
        if a[name].dtype.kind in "biu":
            np.testing.assert_array_equal(b[name], a[name], err_msg=name)
            continue
        with np.errstate(all="ignore"):
            x, y = a[name].astype(np.float64), b[name].astype(np.float64)
            finite = np.isfinite(x)
            np.testing.assert_array_equal(y[~finite], x[~finite], err_msg=name)
            # Scaled, so that no square overflows.
            unit = max(np.abs(x[finite]).max(initial=0.0), size)
            difference = np.linalg.norm((x[finite] - y[finite]) / unit)
            limit = TOLERANCE[dtype] * max(np.linalg.norm(x[finite] / unit), size / unit)
        assert difference <= limit, f"{name}: {difference} above {limit}"


@dataclass(frozen=True)
class Sample:
    """What an operation is tried on: (rows, columns) numbers of a kind.

    It draws them one after the other: `dataclasses.replace` gives one that begins anew.
    """

    rows: int
    columns: int
    dtype: str = "float32"
    values: str = "normal"  # or one of VALUES
    seed: int = 0

    @cached_property
    def rng(self) -> np.random.Generator:
        return np.random.default_rng(self.seed)

    @property
    def shape(self) -> tuple[int, int]:
        return self.rows, self.columns

    def normal(self, *shape: int) -> np.ndarray:
        return self.rng.normal(size=shape or self.shape).astype(self.dtype)

    def numbers(self) -> np.ndarray:
        """Such as come out of a layer, or such as overflow a careless formula."""
        if self.values == "huge":
            x = self.rng.choice([1e4, -1e4, 88.0, -88.0, 1.0, 0.0], self.shape)
        elif self.values == "equal":
            x = np.full(self.shape, self.rng.choice([1e4, -1e4, 5.0, 0.0]))
        else:
            x = 3 * self.rng.normal(size=self.shape)
            if self.values == "infinite":
                x[self.rng.random(self.shape) < 0.2] = -np.inf
                x[self.rng.random(self.shape) < 0.02] = np.inf
        return x.astype(self.dtype)

    def probabilities(self) -> np.ndarray:
        if self.values == "normal":
            return self.rng.uniform(0.05, 0.9, self.shape).astype(self.dtype)
        if self.values == "equal":
            return np.full(self.shape, 0.5, self.dtype)
        return self.rng.choice([0.0, 1e-9, 0.5, 1.0], self.shape).astype(self.dtype)


VALUES = ("normal", "huge", "equal", "infinite")
Comparison = Callable[[Backend, Sample], None]


def variants(kind: str, *besides: type) -> list[Any]:
    """An object of each class of gpunn's own that is registered."""
    classes = registry.entries(kind).values()
    return [c() for c in classes if c.__module__.startswith("gpunn.") and c not in besides]


ACTIVATIONS = [
    *variants("activation"),
    gpunn.activations.Relu(0.1, 1.0, 0.2),
    gpunn.activations.Relu(threshold=-0.5),
    gpunn.activations.LeakyRelu(1.5),
    gpunn.activations.Sigmoid(-2.0, 0.5, 0.25),
    gpunn.activations.Step(2.0, -1.0, 0.5, False),
    gpunn.activations.Ramp(2.0, -1.0, -0.5, 1.5),
    gpunn.activations.Gaussian(0.5, 2.0),
    gpunn.activations.Gelu(approximate=True),
]
ELEMENTWISE = [activation for activation in ACTIVATIONS if not activation.rowwise]
LOSSES = [
    *variants("loss"),
    gpunn.losses.BinaryCrossentropy(from_logits=True),
    gpunn.losses.BinaryCrossentropy(from_logits=True, label_smoothing=0.1),
    gpunn.losses.BinaryCrossentropy(label_smoothing=0.1),
    gpunn.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1),
    gpunn.losses.CategoricalCrossentropy(label_smoothing=0.1),
    gpunn.losses.SparseCategoricalCrossentropy(from_logits=True),
    gpunn.losses.SparseCategoricalCrossentropy(ignore_class=1),
    gpunn.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=1),
    gpunn.losses.Huber(0.5),
]
OPTIMIZERS = [
    *variants("optimizer"),
    gpunn.optimizers.SGD(0.1, momentum=0.9, weight_decay=0.01),
    gpunn.optimizers.SGD(0.1, momentum=0.9, nesterov=True),
    gpunn.optimizers.Adam(0.01, amsgrad=True, weight_decay=0.01),
    gpunn.optimizers.RMSprop(0.01, centered=True, momentum=0.5, epsilon=0.01),
    gpunn.optimizers.RMSprop(0.01, momentum=0.5, weight_decay=0.01),
    gpunn.optimizers.Lamb(0.01, weight_decay=0.01, gradient_accumulation_steps=2),
    gpunn.optimizers.Adagrad(0.1, weight_decay=0.01, gradient_accumulation_steps=2, clipnorm=1.0),
    gpunn.optimizers.Nadam(
        0.01, weight_decay=0.01, use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=2
    ),
]


def asked_for(metric: Any) -> Any:
    """What a metric asks of a card: of those that ask for the same, one is compared."""
    if metric.functor is None:
        return type(metric)
    # Losses are compared as losses: here it is how their rows are added up.
    return metric.adds if metric.adds == "losses" else (metric.functor, metric.parameters)


METRICS = list(
    {
        asked_for(metric): metric
        for metric in [
            *variants(
                "metric", gpunn.metrics.Mean, gpunn.metrics.MeanMetricWrapper, gpunn.metrics.AUC
            ),
            gpunn.metrics.MeanMetricWrapper(lambda t, y: y * y),
            gpunn.metrics.TopKCategoricalAccuracy(k=2),
            gpunn.metrics.SparseTopKCategoricalAccuracy(k=2, from_sorted_ids=True),
            gpunn.metrics.Precision(thresholds=[0.7, 0.1, 0.4]),
            gpunn.metrics.Recall(top_k=3, class_id=0),
            gpunn.metrics.AUC(num_thresholds=7, multi_label=True, from_logits=True),
            gpunn.metrics.F1Score(threshold=0.5),
            gpunn.metrics.FBetaScore("micro"),
            gpunn.metrics.MeanAbsoluteError(),
        ]
    }.values()
)


LOSS_METRICS = [
    m for m in variants("metric", gpunn.metrics.Mean, gpunn.metrics.MeanMetricWrapper)
    if m.adds == "losses"
]  # fmt: skip
LOSS_METRICS += [
    gpunn.metrics.BinaryCrossentropy(from_logits=True),
    gpunn.metrics.CategoricalCrossentropy(from_logits=True),
]


def label(formula: Any) -> str:
    """What a formula is called: its class, and its kernel with the numbers for it."""
    functor = getattr(formula, "functor", None) or getattr(
        getattr(formula, "loss", None), "functor", None
    )
    options = [f"{p:g}" for p in (getattr(formula, "parameters", None) or ())[:7]]
    options += ["logits"] * bool(getattr(formula, "from_logits", False))
    options += ["approximate"] * bool(getattr(formula, "approximate", False))
    options += ["no kernel"] * (functor is None)
    return f"{type(formula).__name__}({', '.join(options)})"


def activation(formula: Any, card: Backend, sample: Sample) -> None:
    x, dy = sample.numbers(), sample.normal()
    separate = formula.saves == "input"
    # The same in both: where f is flat, the last digit of f(x) decides about the slope.
    saved = x.copy()
    if not separate:
        with np.errstate(all="ignore"):
            NUMPY.bias_activation(x, None, formula, saved)

    def both_ways(backend: Backend, a: dict[str, Any]) -> None:
        backend.bias_activation(a["x"], a["bias"], formula, a["out"] if separate else a["x"])
        if not separate:
            backend.bias_activation(a["plain"], None, formula, a["out"])
        backend.activation_gradient(formula, a["saved"], a["dy"], a["dx"])
        backend.activation_gradient(formula, a["saved"], a["dy"], a["sum"], accumulate=True)
        backend.activation_gradient(formula, a["saved"], a["dy"], a["dy"])

    both = on_both(
        card, both_ways, x=x, plain=x, saved=saved, bias=sample.normal(sample.columns), dy=dy,
        dx=dy, sum=sample.normal(), out=x,
    )  # fmt: skip
    assert_alike(*both, sample.dtype)


def loss(formula: Any, card: Backend, sample: Sample) -> None:
    rows, columns = sample.shape
    bounded = ("crossentropy", "divergence", "poisson", "logarithmic")
    from_logits = getattr(formula, "from_logits", not any(n in formula.name for n in bounded))
    truth = sample.rng.integers(0, columns, rows).astype(np.int32)
    if not formula.sparse:
        if "categorical" in formula.name:
            truth = np.eye(columns, dtype=sample.dtype)[truth]
        elif "binary" in formula.name or "hinge" in formula.name:
            truth = sample.rng.integers(0, 2, sample.shape).astype(sample.dtype)
        elif "perceptron" in formula.name:
            truth = sample.rng.choice([-1, 0, 1], sample.shape).astype(sample.dtype)
        elif not from_logits:
            truth = sample.probabilities()
        else:
            truth = sample.normal()

    def three_times(backend: Backend, a: dict[str, Any]) -> None:
        backend.loss(formula, a["t"], a["y"], a["w"], 0.25, a["dy"], a["totals"])
        backend.loss(formula, a["t"], a["y"], None, 0.5, a["plain"], a["totals"])
        backend.loss(formula, a["t"], a["y"], None, 0.5, None, a["no_count"][:2])

    y = sample.numbers() if from_logits else sample.probabilities()
    both = on_both(
        card, three_times, t=truth, y=y, w=sample.rng.random(rows).astype(sample.dtype),
        dy=np.zeros_like(y), plain=np.zeros_like(y), totals=np.zeros(3), no_count=np.zeros(3),
    )  # fmt: skip
    assert_alike(*both, sample.dtype, 0.5 / columns)  # a slope is p - t, of which p may be t
    assert both[1]["totals"][1] == 2 * rows


def metric(formula: Any, card: Backend, sample: Sample) -> None:
    if getattr(formula, "by_output", False):  # bins for each of them: not too many
        sample = replace(sample, columns=min(sample.columns, 12))
        formula = copy.copy(formula)
    rows, columns = sample.shape
    formula.build(sample.shape)
    truth = sample.rng.integers(0, columns, rows).astype(np.int32)
    counts = isinstance(formula, gpunn.metrics.binned.Binned)  # either kind of target will do
    if formula.sparse is False or (counts and sample.seed % 2):
        truth = np.eye(columns, dtype=sample.dtype)[truth]
    from_loss = getattr(formula, "loss", None) is not None
    y = sample.probabilities() if from_loss else sample.numbers().round(1)  # so that there are ties

    def twice(backend: Backend, a: dict[str, Any]) -> None:
        backend.metric(formula, a["t"], a["y"], a["w"], a["state"])
        backend.metric(formula, a["t"], a["y"], None, a["state"])

    weights = sample.rng.random(rows).astype(sample.dtype)
    state = np.zeros(formula.state_size)
    assert_alike(*on_both(card, twice, t=truth, y=y, w=weights, state=state), sample.dtype)


def column_sums(card: Backend, sample: Sample) -> None:
    x = sample.numbers()

    def sums(backend: Backend, a: dict[str, Any]) -> None:
        backend.column_sums(a["x"], a["out"])
        backend.column_sums(a["x"], a["total"], accumulate=True)

    row = sample.normal(sample.columns)
    size = float(np.linalg.norm(np.abs(x[np.isfinite(x).all(axis=1)]).sum(axis=0)))
    assert_alike(*on_both(card, sums, x=x, out=row, total=row), sample.dtype, size)


def conversion(source: str, target: str, card: Backend, sample: Sample) -> None:
    """affine and gather, with rows from the middle of a shuffled pass to its end."""
    rows = sample.rows
    x = sample.rng.integers(0, 100, sample.shape).astype(source)
    scale, offset = (1.0, 0.0) if target == "int32" else (1 / 255, -0.5)
    order = Order(rows, sample.seed)
    first = int(sample.rng.integers(rows))

    def convert(backend: Backend, a: dict[str, Any]) -> None:
        control = Control(backend)
        control.set(POSITION, first)
        control.set(PASS, 2)
        backend.affine(a["x"], scale, offset, a["affine"])
        if target != "int32":
            backend.affine(a["x"], scale, offset, a["sum"], accumulate=True)
        backend.gather(a["x"], order, control, a["rows"], scale, offset)

    empty = np.zeros(sample.shape, target)
    both = on_both(card, convert, x=x, affine=empty, sum=empty + 1, rows=empty[first:])
    assert_alike(*both, "float32")


def combination(name: str, card: Backend, sample: Sample) -> None:
    x = sample.numbers()
    other = np.where(sample.rng.random(x.shape) < 0.5, x, sample.numbers())  # half of them the same
    other[np.isinf(other) | (other == 0)] = 3

    def combine(backend: Backend, a: dict[str, Any]) -> None:
        backend.combine(name, a["x"], a["other"], a["out"])
        backend.combine(name, a["x"], a["other"], a["sum"], accumulate=True)
        backend.combine(name, a["x"], a["other"], a["x"])

    both = on_both(card, combine, x=x, other=other, out=x, sum=sample.normal())
    assert_alike(*both, sample.dtype)


def columns(card: Backend, sample: Sample) -> None:
    """Parts of rows put together and taken apart."""
    x, wide = sample.numbers(), sample.normal(sample.rows, sample.columns + 3)

    def copy(backend: Backend, a: dict[str, Any]) -> None:
        width = sample.columns
        backend.copy_columns(a["x"], 0, a["wide"], 2, width)
        backend.copy_columns(a["other"], width - 1, a["wide"], 1, 1, accumulate=True)
        backend.copy_columns(a["wide"], 1, a["out"], 0, width)
        backend.copy_columns(a["wide"], 3, a["sum"], 0, width, accumulate=True)

    both = on_both(
        card, copy, x=x, other=sample.normal(), wide=wide, out=x, sum=sample.normal()
    )
    assert_alike(*both, sample.dtype)


def dropout(card: Backend, sample: Sample) -> None:
    x, rate, seed = sample.numbers(), 0.3, 2**64 - 5

    def drop(backend: Backend, a: dict[str, Any]) -> None:
        control = Control(backend)
        control.set(BATCHES, sample.seed)
        backend.dropout(a["x"], rate, seed, 3, control, a["out"], a["mask"])
        backend.dropout_gradient(a["dy"], rate, a["mask"], a["dx"])
        backend.dropout_gradient(a["dy"], rate, a["mask"], a["sum"], accumulate=True)

    dy, mask = sample.normal(), np.zeros(sample.shape, np.bool_)
    x[~np.isfinite(x)] = 0  # where it is dropped, infinity is 0 here and NaN there
    both = on_both(card, drop, x=x, dy=dy, out=x, mask=mask, dx=dy, sum=sample.normal())
    assert_alike(*both, sample.dtype)


def batch_normalization(card: Backend, sample: Sample) -> None:
    """With the features last, first or in the middle of an array."""
    rows, columns = sample.shape
    x, dy, epsilon = sample.numbers(), sample.normal(), 0.01
    x[~np.isfinite(x)] = 0  # what of a sum is infinite and what NaN depends on its order
    x += sample.rng.choice([0, 1000])
    shapes = [(rows, columns, 1), (1, rows, columns), (2, rows // 2, columns)]
    shape = shapes[int(sample.rng.integers(2 if rows % 2 else 3))]
    constant, affine = sample.rng.random(2) < (0.2, 0.8)

    def forward_and_back(backend: Backend, a: dict[str, Any]) -> None:
        x, dy, y, dx = (a[name].reshape(shape) for name in ("x", "dy", "y", "dx"))
        gamma, beta = (a["gamma"], a["beta"]) if affine else (None, None)
        backend.batch_statistics(x, 0.9, a["mean"], a["variance"], a["moving"], a["moving too"])
        backend.normalize(x, a["mean"], a["variance"], gamma, beta, epsilon, y)
        # The same in both: what is left of equal numbers without their mean is all rounding.
        backend.write(a["mean"], mean)
        for again in (False, True):
            backend.normalize_gradient(
                x, dy, a["mean"], a["variance"], gamma, epsilon,
                None if constant else a["dgamma"], None if constant else a["dbeta"], dx,
                constant=constant, accumulate_gradients=again, accumulate_dx=again,
            )  # fmt: skip

    mean = x.reshape(shape).mean(axis=(0, 2), dtype=np.float64).astype(sample.dtype)
    names = ("mean", "variance", "moving", "moving too", "gamma", "beta", "dgamma", "dbeta")
    features = {name: sample.normal(shape[1]) for name in names}
    both = on_both(card, forward_and_back, x=x, dy=dy, y=x, dx=dy, **features)
    # Differences of large numbers, divided by the root of epsilon if they are all equal.
    size = 10 * float(np.abs(x).max(initial=1.0)) * np.sqrt(x.size)
    assert_alike(*both, sample.dtype, size)


def layer_normalization(card: Backend, sample: Sample) -> None:
    x, epsilon = sample.numbers(), 0.01
    x[~np.isfinite(x)] = 0
    centred, affine = sample.rng.random(2) < 0.6

    def forward_and_back(backend: Backend, a: dict[str, Any]) -> None:
        mean, gamma = a["mean"] if centred else None, a["gamma"] if affine else None
        backend.layer_norm(
            a["x"], gamma, a["beta"] if affine else None, epsilon, mean, a["variance"], a["y"]
        )
        for again in (False, True):
            backend.layer_norm_gradient(
                a["x"], a["dy"], gamma, epsilon, mean, a["variance"], a["dgamma"], a["dbeta"],
                a["dx"], accumulate_gradients=again, accumulate_dx=again,
            )  # fmt: skip

    arrays = {name: sample.normal(sample.columns) for name in ("gamma", "beta", "dgamma", "dbeta")}
    arrays |= {name: sample.normal(sample.rows) for name in ("mean", "variance")}
    arrays |= {name: sample.normal() for name in ("dy", "y", "dx")}
    size = 10 * float(np.abs(x).max(initial=1.0)) * np.sqrt(x.size)
    assert_alike(*on_both(card, forward_and_back, x=x, **arrays), sample.dtype, size)


def noise(card: Backend, sample: Sample) -> None:
    x = sample.normal()

    def draw(backend: Backend, a: dict[str, Any]) -> None:
        control = Control(backend)
        control.set(BATCHES, sample.seed)
        backend.normal_noise(a["x"], 0.3, 2**64 - 5, 3, control, a["y"])
        backend.normal_noise(a["x"], 0.3, 7, 4, control, a["z"], a["factors"])

    arrays = {name: sample.normal() for name in ("y", "z", "factors")}
    assert_alike(*on_both(card, draw, x=x, **arrays), sample.dtype)


def prelu(card: Backend, sample: Sample) -> None:
    x, slopes = sample.numbers(), sample.normal(sample.columns)
    x[~np.isfinite(x)] = 0

    def both_ways(backend: Backend, a: dict[str, Any]) -> None:
        backend.prelu(a["x"], a["slopes"], a["y"])
        backend.prelu_gradient(a["x"], a["slopes"], a["dy"], a["terms"], a["dx"])
        arrays = a["x"], a["slopes"], a["dy"], a["more"], a["sum"]
        backend.prelu_gradient(*arrays, accumulate_dx=True)
        backend.prelu_gradient(a["x"], a["slopes"], a["dy"], a["last"], None)

    arrays = {name: sample.normal() for name in ("y", "dy", "dx", "terms", "sum", "more", "last")}
    assert_alike(*on_both(card, both_ways, x=x, slopes=slopes, **arrays), sample.dtype)


def shared_launch(card: Backend, sample: Sample) -> None:
    """Operations that a program performs in one launch, row by row."""
    softmax = gpunn.activations.get("softmax")
    x, rate = sample.normal(), 0.3

    def several(backend: Backend, a: dict[str, Any]) -> None:
        control = Control(backend)
        control.set(BATCHES, sample.seed)
        backend.bias_activation(a["x"], a["bias"], gpunn.activations.get("tanh"), a["x"])
        backend.dropout(a["x"], rate, 7, 3, control, a["y"], a["mask"])
        backend.bias_activation(a["y"], None, softmax, a["y"])
        backend.activation_gradient(softmax, a["y"], a["dy"], a["dy"])
        backend.dropout_gradient(a["dy"], rate, a["mask"], a["dx"], accumulate=True)

    both = on_both(
        card, partial(program, "fused", several, 1), x=x, y=x, dy=sample.normal(),
        bias=sample.normal(sample.columns), dx=sample.normal(),
        mask=np.zeros(sample.shape, np.bool_),
    )  # fmt: skip
    assert_alike(*both, sample.dtype)


def products(card: Backend, sample: Sample) -> None:
    """Products as parts of a kernel, in each of their forms, one depending on the other."""
    rows, columns = sample.shape
    inner = int(sample.rng.integers(1, 40))

    def multiply(backend: Backend, a: dict[str, Any]) -> None:
        backend.matmul(a["x"], a["w"], a["y"])
        backend.matmul(a["x"], a["w"], a["sum"], accumulate=True)
        backend.matmul(a["x"], a["y"], a["dw"], transpose_a=True)
        backend.matmul(a["x"], a["sum"], a["dw"], transpose_a=True, accumulate=True)
        backend.matmul(a["y"], a["w"], a["dx"], transpose_b=True)
        backend.matmul(a["sum"], a["w"], a["dx"], transpose_b=True, accumulate=True)

    arrays = {
        "x": sample.normal(), "w": sample.normal(columns, inner), "dw": np.zeros((columns, inner)),
        "y": np.zeros((rows, inner)), "sum": sample.normal(rows, inner), "dx": sample.normal(),
    }  # fmt: skip
    arrays = {name: array.astype(sample.dtype) for name, array in arrays.items()}
    size = float(np.abs(arrays["x"]).sum()) * inner
    both = on_both(card, partial(program, "persistent", multiply, 1), **arrays)
    assert_alike(*both, sample.dtype, size)


def persistent_steps(card: Backend, sample: Sample) -> None:
    """Three steps in one launch, in which all blocks wait for each other again and again."""
    rows, columns = sample.shape
    tanh = gpunn.activations.get("tanh")

    def step(backend: Backend, a: dict[str, Any]) -> None:
        backend.gather(a["source"], order, a["control"], a["x"], 0.5)
        backend.matmul(a["x"], a["w"], a["y"])
        backend.bias_activation(a["y"], a["b"], tanh, a["y"])
        backend.column_sums(a["y"], a["sums"], accumulate=True)
        backend.matmul(a["x"], a["y"], a["dw"], transpose_a=True)
        backend.affine(a["dw"], 1e-3 / rows, 0.0, a["w"], accumulate=True)
        backend.affine(a["sums"], 1e-3 / rows, 0.0, a["b"], accumulate=True)
        backend.advance(a["control"], 1, a["totals"])

    def steps(backend: Backend, a: dict[str, Any]) -> None:
        program("persistent", step, 3, backend, {**a, "control": Control(backend)})

    order = Order(rows + 3, sample.seed)
    both = on_both(
        card, steps, x=sample.normal(), w=sample.normal(columns, 3), totals=np.zeros(3),
        b=sample.normal(3), y=sample.normal(rows, 3), sums=sample.normal(3),
        dw=sample.normal(columns, 3), source=sample.normal(rows + 3, columns),
    )  # fmt: skip
    assert_alike(*both, sample.dtype, 10.0 * rows)


def program(
    mode: str,
    step: Callable[[Backend, dict[str, Any]], None],
    steps: int,
    backend: Backend,
    a: dict[str, Any],
) -> None:
    """Perform ``step`` so often as a program, on a card in this launch mode."""
    own = backend.isolated()
    own.launch_mode = mode  # type: ignore[attr-defined]
    own.program(lambda: step(own, a), True).run(steps)


def make_arena(backend: Backend, sample: Sample, optimizer: Any = None) -> Arena:
    """Four parameters of which one is frozen, one slow, one without decay."""
    rng = np.random.default_rng(sample.seed)

    def values(shape: Any, dtype: Any) -> np.ndarray:
        return np.asarray(rng.normal(size=shape), dtype)

    parameters = [
        Parameter(sample.shape, values),
        Parameter((sample.columns,), values, decay=False),
        Parameter((3,), values, multiplier=0.1),
        Parameter((1, 1), values),
    ]
    made = Arena(backend, sample.dtype, parameters)
    if optimizer is not None:
        optimizer.add_slots(made)
    parameters[3].layer = type("Layer", (), {"name": "frozen", "trainable": False})
    made.refresh()
    return made


def give_gradients(made: Arena, sample: Sample) -> None:
    for parameter in made.parameters:
        gradient = sample.normal(*parameter.shape)
        if parameter.shape == sample.shape and sample.values != "infinite":
            gradient = sample.numbers()
        made.backend.write(parameter.gradient, gradient)


def optimizer(formula: Any, card: Backend, sample: Sample) -> None:
    results = []
    for backend in (NUMPY, card):
        made, control = make_arena(backend, sample, formula), Control(backend)
        numbers = replace(sample)
        frozen = made.parameters[3].numpy()
        for step in range(3):
            control.set(UPDATES, step)
            control.set_learning_rate(0.1 / (1 + step))
            give_gradients(made, numbers)
            formula.step(made, control)
        assert made.parameters[3].numpy() == frozen
        results.append(
            (
                {str(i): p.numpy() for i, p in enumerate(made.parameters)},
                {name: backend.read(slot) for name, slot in made.slots.items()},
            )
        )
    (weights, slots), (others, other_slots) = results
    assert_alike(weights, others, sample.dtype, 1.0)  # a single one may come to lie next to 0
    assert_alike(slots, other_slots, sample.dtype)


def persistent_updates(card: Backend, sample: Sample) -> None:
    """Gradients that threads make and update without waiting for each other, in one kernel."""
    formula = gpunn.optimizers.SGD(0.1, momentum=0.9)
    results = []
    for backend in (NUMPY, card):
        numbers = replace(sample)
        made, control = make_arena(backend, numbers, formula), Control(backend)
        control.set_learning_rate(0.1)
        give_gradients(made, replace(numbers, values="normal"))
        x, dz, source = (
            backend.upload(numbers.normal(*shape))
            for shape in ((5, sample.rows), (5, sample.columns), (20, sample.rows))
        )

        def step(backend: Backend, a: Any) -> None:
            backend.gather(a["source"], Order(20, 3), a["control"], a["x"])
            backend.matmul(a["x"], a["dz"], a["made"].parameters[0].gradient, transpose_a=True)
            backend.column_sums(a["dz"], a["made"].parameters[1].gradient)
            backend.update(formula, a["made"], a["control"])
            backend.advance(a["control"], 5, a["totals"])

        given = {"x": x, "dz": dz, "source": source, "made": made, "control": control}
        given["totals"] = backend.zeros((3,), np.float64)
        program("persistent", step, 3, backend, given)
        results.append({str(i): p.numpy() for i, p in enumerate(made.parameters)})
    assert_alike(results[0], results[1], sample.dtype, 10.0)


def clip(by: str, card: Backend, sample: Sample) -> None:
    for limit in (0.5, 1e9):
        results = []
        for backend in (NUMPY, card):
            made = make_arena(backend, sample)
            give_gradients(made, replace(sample))
            backend.clip_gradients(made, by, limit)
            trained = made.parameters[:3]
            results.append({str(i): backend.read(p.gradient) for i, p in enumerate(trained)})
        assert_alike(results[0], results[1], sample.dtype)


def advance(card: Backend, sample: Sample) -> None:
    results = []
    for backend in (NUMPY, card):
        control, totals = Control(backend), backend.zeros((3,), np.float64)
        for value in (0.0, np.nan, np.inf):
            backend.write(totals, np.array([value, 0, 0]))
            backend.advance(control, sample.rows, totals)
        results.append({"counters": control.get()})
    assert_alike(results[0], results[1], sample.dtype)


def schedule(formula: Any, card: Backend, sample: Sample) -> None:
    """Some step's value, and one long after the end; an update every step, and every two."""
    results = []
    for backend in (NUMPY, card):
        control, found = Control(backend), []
        for step, every in ((sample.rows % 24, 1), (10**6, 2)):
            control.set(UPDATES, step)
            backend.schedule(formula, control, every, every)
            found.append(backend.read(control.rates))
        results.append({"rates": np.array(found)})
    assert_alike(results[0], results[1], "float64")


def regularize(card: Backend, sample: Sample) -> None:
    results = []
    for backend in (NUMPY, card):
        made = make_arena(backend, sample)
        for parameter, (l1, l2) in zip(
            made.parameters, ((0.1, 0.2), (0.0, 0.3), (0.2, 0.0), (1.0, 1.0)), strict=True
        ):
            parameter.regularizer = gpunn.regularizers.L1L2(l1, l2)
        made.refresh()
        give_gradients(made, replace(sample, values="normal"))
        totals = backend.zeros((3,), np.float64)
        for gradients in (True, False, True):
            backend.regularize(made, 7, gradients, totals)
        trained = made.parameters[:3]
        found = {str(i): backend.read(p.gradient) for i, p in enumerate(trained)}
        results.append({**found, "totals": backend.read(totals)})
    assert_alike(results[0], results[1], sample.dtype)


def constrain(formula: Any, card: Backend, sample: Sample) -> None:
    w = sample.normal()

    def both_ways(backend: Backend, a: dict[str, Any]) -> None:
        backend.constrain(formula, a["w"])
        if sample.rows % 2 == 0:
            backend.constrain(formula, a["cube"].reshape(2, sample.rows // 2, sample.columns))

    assert_alike(*on_both(card, both_ways, w=w, cube=w), sample.dtype)


def windows(sample: Sample) -> tuple[Geometry, tuple[int, ...]]:
    """Windows of more than one cell on small images, and the shape of these."""
    pick = lambda least, most: int(sample.rng.integers(least, most + 1))  # noqa: E731
    window = pick(2, 3), pick(1, 3)
    strides, dilation = (pick(1, 3), pick(1, 4)), (1, 1)
    if sample.rows % 3 == 0:
        strides, dilation = dilation, (pick(1, 2), pick(1, 2))
    span = [d * (k - 1) + 1 for k, d in zip(window, dilation, strict=True)]
    size = pick(span[0], 8), pick(span[1], 8)
    padding = ("valid", "same")[pick(0, 1)]
    geometry = Geometry.fit(size, window, strides, padding, dilation)
    return geometry, (pick(1, 3), *size, pick(1, 4))


def images(sample: Sample, shape: tuple[int, ...]) -> np.ndarray:
    rows = replace(sample, rows=int(np.prod(shape[:3])), columns=shape[3])
    return rows.numbers().reshape(shape)


def convolution(card: Backend, sample: Sample) -> None:
    geometry, shape = windows(sample)
    filters = 1 + sample.columns % 5
    out = sample.normal(shape[0], *geometry.windows, filters)
    kernel = sample.normal(*geometry.window, shape[3], filters)
    linear, formula = gpunn.activations.get("linear"), ELEMENTWISE[sample.seed % len(ELEMENTWISE)]
    separate, saved = formula.saves == "input", sample.normal(*out.shape)
    if not separate:
        NUMPY.bias_activation(saved, None, formula, saved)

    def both_ways(backend: Backend, a: dict[str, Any]) -> None:
        x, w, b, y = a["x"], a["w"], a["b"], a["y"]
        backend.convolution(x, w, b, formula, geometry, a["kept"] if separate else y, y)
        backend.convolution(x, w, None, linear, geometry, a["z"], a["z"])
        for adds in (False, True):
            backend.convolution_gradient(
                x, w, linear, geometry, y, a["dy"], a["dw"], a["db"], a["dx"], adds, adds
            )
        saved = a["saved"]
        backend.convolution_gradient(x, w, formula, geometry, saved, a["dy"], None, None, a["only"])

    both = on_both(
        card, both_ways, x=sample.normal(*shape), w=kernel, b=sample.normal(filters), y=out, z=out,
        kept=out, saved=saved,
        dy=sample.normal(*out.shape), dw=kernel, db=kernel[0, 0, 0], dx=sample.normal(*shape),
        only=sample.normal(*shape),
    )  # fmt: skip
    assert_alike(*both, sample.dtype, float(out.size))


def pooling(card: Backend, sample: Sample) -> None:
    geometry, shape = windows(sample)
    geometry = replace(geometry, dilation=(1, 1))
    geometry = Geometry.fit(geometry.image, geometry.window, geometry.strides, "same")
    x = images(sample, shape)
    out, dx = sample.normal(shape[0], *geometry.windows, shape[3]), sample.normal(*shape)

    def both_kinds(backend: Backend, a: dict[str, Any]) -> None:
        backend.max_pooling(a["x"], geometry, a["y"])
        backend.average_pooling(a["x"], geometry, a["mean"])
        for dx, accumulate in (("dx", False), ("sum", True)):
            backend.max_pooling_gradient(
                a["x"], a["y"], a["dy"], geometry, a["max " + dx], accumulate
            )
            backend.average_pooling_gradient(a["dy"], geometry, a["mean " + dx], accumulate)

    both = on_both(
        card, both_kinds, x=x, y=out, mean=out, dy=sample.normal(*out.shape),
        **{f"{kind} {name}": dx for kind in ("max", "mean") for name in ("dx", "sum")},
    )  # fmt: skip
    assert_alike(*both, sample.dtype, float(np.abs(x[np.isfinite(x)]).sum()))


def layout(card: Backend, sample: Sample) -> None:
    _, shape = windows(sample)
    x, offset = images(sample, shape), tuple(int(n) for n in sample.rng.integers(-3, 4, 2))
    out = sample.normal(shape[0], 5, 6, shape[3])
    turned = x.reshape(shape[0], -1, shape[3])
    other = sample.normal(shape[0], shape[3], turned.shape[1])

    def move(backend: Backend, a: dict[str, Any]) -> None:
        backend.crop_or_pad(a["x"], offset, a["out"])
        backend.crop_or_pad(a["x"], offset, a["sum"], accumulate=True)
        backend.swap_axes(a["turned"], a["other"])
        backend.swap_axes(a["turned"], a["added"], accumulate=True)

    arrays = {"x": x, "out": out, "sum": out, "turned": turned, "other": other, "added": other}
    assert_alike(*on_both(card, move, **arrays), sample.dtype)


def sums_of_many_rows(card: Backend, sample: Sample) -> None:
    """More than one block a column, as for the windows of a batch of images."""
    many = 2048 + 37 * sample.rows
    column_sums(card, replace(sample, rows=many, columns=1 + sample.columns % 3))


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
    for name in kernel_source.options("Combination"):
        yield f"combine by {name}", partial(combination, name)
    for target in ("float32", "float64", "int32"):
        for source in SOURCES:
            yield f"{source} to {target}", partial(conversion, source, target)
    programs = (shared_launch, products, persistent_steps, persistent_updates)
    normalizations = (batch_normalization, layer_normalization, noise)
    on_images = (convolution, pooling, layout, sums_of_many_rows)
    passes = (column_sums, columns, prelu, dropout)
    for compare in (*passes, *normalizations, *on_images, advance, *programs):
        yield compare.__name__, compare


COMPARISONS = dict(_comparisons())
assert len(COMPARISONS) == sum(1 for _ in _comparisons())  # each by a name of its own
