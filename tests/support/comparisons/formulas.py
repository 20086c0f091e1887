"""The formulas that have kernels, with variants of their arguments, and their comparisons."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np

import gpunn
from gpunn.backends.contract.backend import Backend
from gpunn.common import registry
from gpunn.common.signatures import required

from .samples import NUMPY, Sample, assert_alike, on_both, summed


def variants(kind: str, *besides: type) -> list[Any]:
    """An object of each class that gpunn itself registers."""
    classes = registry.entries(kind).values()
    own = [c for c in classes if c.__module__.startswith("gpunn.") and c not in besides]
    return [c(**(c.examples[0] if required(c) else {})) for c in own]  # type: ignore[attr-defined]


ACTIVATIONS = [
    *variants("activation"),
    gpunn.activations.Relu(0.1, 1.0, 0.2),
    gpunn.activations.Relu(threshold=-0.5),
    gpunn.activations.LeakyRelu(1.5),
    gpunn.activations.Elu(0.5),
    gpunn.activations.Sigmoid(-2.0, 0.5, 0.25),
    gpunn.activations.Step(2.0, -1.0, 0.5, False),
    gpunn.activations.Ramp(2.0, -1.0, -0.5, 1.5),
    gpunn.activations.Gaussian(0.5, 2.0),
    gpunn.activations.Gelu(approximate=True),
]
ELEMENTWISE = [activation for activation in ACTIVATIONS if not activation.rowwise]
LOSSES = [
    *variants("loss", gpunn.losses.CTC),  # whose targets are sequences
    gpunn.losses.BinaryCrossentropy(from_logits=True),
    gpunn.losses.BinaryCrossentropy(from_logits=True, label_smoothing=0.1),
    gpunn.losses.BinaryCrossentropy(label_smoothing=0.1),
    gpunn.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1),
    gpunn.losses.CategoricalCrossentropy(label_smoothing=0.1),
    gpunn.losses.SparseCategoricalCrossentropy(from_logits=True),
    gpunn.losses.SparseCategoricalCrossentropy(ignore_class=1),
    gpunn.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=1),
    gpunn.losses.Huber(0.5),
    # For a model that ends in sigmoid or softmax: values from probabilities, gradients of logits.
    gpunn.losses.BinaryCrossentropy(label_smoothing=0.1).on_logits(),
    gpunn.losses.CategoricalCrossentropy().on_logits(),
    gpunn.losses.SparseCategoricalCrossentropy().on_logits(),
]
OPTIMIZERS = [
    *variants("optimizer"),
    gpunn.optimizers.SGD(0.1, momentum=0.9, weight_decay=0.01),
    gpunn.optimizers.SGD(0.1, momentum=0.9, nesterov=True),
    gpunn.optimizers.Adam(0.01, amsgrad=True, weight_decay=0.01),
    gpunn.optimizers.RMSprop(0.01, centered=True, momentum=0.5, epsilon=0.01),
    gpunn.optimizers.RMSprop(0.01, centered=True, epsilon=0.01),
    gpunn.optimizers.RMSprop(0.01, momentum=0.5, weight_decay=0.01),
    gpunn.optimizers.Lamb(0.01, weight_decay=0.01, gradient_accumulation_steps=2),
    gpunn.optimizers.Adagrad(0.1, weight_decay=0.01, gradient_accumulation_steps=2, clipnorm=1.0),
    gpunn.optimizers.Nadam(
        0.01, weight_decay=0.01, use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=2
    ),
]


def asked_for(metric: Any) -> Any:
    """What a metric needs of a GPU; one metric is compared for each distinct need."""
    if metric.functor is None:
        return type(metric)
    # Losses are compared as losses: this is about how their rows are summed.
    how = metric.accumulates
    return how if how == "losses" else (metric.functor, metric.parameters)


NOT_OF_PREDICTIONS = gpunn.metrics.Mean, gpunn.metrics.Sum, gpunn.metrics.MeanMetricWrapper
METRICS = list(
    {
        asked_for(metric): metric
        for metric in [
            *variants("metric", *NOT_OF_PREDICTIONS, gpunn.metrics.AUC),
            gpunn.metrics.MeanMetricWrapper(lambda t, y: y * y),
            gpunn.metrics.TopKCategoricalAccuracy(k=2),
            gpunn.metrics.SparseTopKCategoricalAccuracy(k=2, from_sorted_ids=True),
            gpunn.metrics.Precision(thresholds=[0.7, 0.1, 0.4]),
            gpunn.metrics.Recall(top_k=3, class_id=0),
            gpunn.metrics.Precision(top_k=4),
            gpunn.metrics.AUC(num_thresholds=7, multi_label=True, from_logits=True),
            gpunn.metrics.F1Score(threshold=0.5),
            gpunn.metrics.FBetaScore("micro"),
            gpunn.metrics.MeanAbsoluteError(),
        ]
    }.values()
)


LOSS_METRICS = [
    m for m in variants("metric", *NOT_OF_PREDICTIONS)
    if m.accumulates == "losses"
]  # fmt: skip
LOSS_METRICS += [
    gpunn.metrics.BinaryCrossentropy(from_logits=True),
    gpunn.metrics.CategoricalCrossentropy(from_logits=True),
]
for kept in (gpunn.losses.BinaryCrossentropy(), gpunn.losses.CategoricalCrossentropy()):
    LOSS_METRICS += [copy.copy(LOSS_METRICS[-1])]
    vars(LOSS_METRICS[-1])["loss"] = kept.on_logits()


def label(formula: Any) -> str:
    """Return a formula's label: its class, and its kernel with the kernel's parameters."""
    functor = getattr(formula, "functor", None) or getattr(
        getattr(formula, "loss", None), "functor", None
    )
    options = [f"{p:g}" for p in (getattr(formula, "parameters", None) or ())[:7]]
    options += ["logits"] * bool(getattr(formula, "from_logits", False))
    options += ["clipped"] * bool(getattr(formula, "clipped", False))
    options += ["approximate"] * bool(getattr(formula, "approximate", False))
    options += ["no kernel"] * (functor is None)
    return f"{type(formula).__name__}({', '.join(options)})"


def activation(formula: Any, gpu: Backend, sample: Sample) -> None:
    x, dy = sample.numbers(), sample.normal()
    separate = formula.saves == "input"
    # The same in both: where f is flat, the last digit of f(x) decides the derivative.
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
        gpu, both_ways, x=x, plain=x, saved=saved, bias=sample.normal(sample.columns), dy=dy,
        dx=dy, sum=sample.normal(), out=x,
    )  # fmt: skip
    assert_alike(*both, sample.dtype)


def loss(formula: Any, gpu: Backend, sample: Sample) -> None:
    rows, columns = sample.shape
    bounded = ("crossentropy", "divergence", "poisson", "logarithmic", "dice", "tversky")
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
        formula.add_up(backend, a["t"], a["y"], a["w"], 0.25, a["dy"], a["totals"])
        formula.add_up(backend, a["t"], a["y"], None, 0.5, a["plain"], a["totals"])
        formula.add_up(backend, a["t"], a["y"], None, 0.5, None, a["no_count"][:2])

    y = sample.numbers() if from_logits else sample.probabilities()
    both = on_both(
        gpu, three_times, t=truth, y=y, w=sample.rng.random(rows).astype(sample.dtype),
        dy=np.zeros_like(y), plain=np.zeros_like(y), totals=np.zeros(3), no_count=np.zeros(3),
    )  # fmt: skip
    assert_alike(*both, sample.dtype, 0.5 / columns)  # the gradient is p - t, where p may equal t
    assert both[1]["totals"][1] == 2 * rows


def metric(formula: Any, gpu: Backend, sample: Sample) -> None:
    if getattr(formula, "by_output", False):
        formula = copy.copy(formula)
        if formula.accumulates == "bins":  # one for each: not too many
            sample = replace(sample, columns=min(sample.columns, 12))
    rows, columns = sample.shape
    formula.build((columns,))
    truth = sample.rng.integers(0, columns, rows).astype(np.int32)
    counts = isinstance(formula, gpunn.metrics.binned.Binned)  # either kind of target works
    if formula.sparse is False or (counts and sample.seed % 2):
        truth = np.eye(columns, dtype=sample.dtype)[truth]
    from_loss = getattr(formula, "loss", None) is not None
    y = sample.probabilities() if from_loss else sample.numbers().round(1)  # to produce ties

    def twice(backend: Backend, a: dict[str, Any]) -> None:
        backend.metric(formula, a["t"], a["y"], a["w"], a["state"])
        backend.metric(formula, a["t"], a["y"], None, a["state"])

    weights = sample.rng.random(rows).astype(sample.dtype)
    state = np.zeros(formula.state_size)
    both = on_both(gpu, twice, t=truth, y=y, w=weights, state=state)
    exact = sample.dtype == "float64"
    assert_alike(*both, sample.dtype, tolerance=summed(2 * y.size) if exact else None)


def many_bins(gpu: Backend, sample: Sample) -> None:
    """So many bins that no kernel searches all predictions for each."""
    metric(gpunn.metrics.AUC(num_thresholds=15_000), gpu, sample)
