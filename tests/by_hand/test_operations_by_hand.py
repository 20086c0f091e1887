"""What a user writes by hand launches what `fit` does, and runs in the same mode on a GPU."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

import gpunn
from gpunn import layers
from gpunn.apps.roofline.step_profile import step_program
from gpunn.backends.cupy.driver import dry
from gpunn.backends.cupy.launch.known_gpus import known_gpu

Chain = Callable[[], list[Any]]
CHAINS: dict[str, tuple[tuple[int, ...], Chain]] = {
    "dense": (
        (20,),
        lambda: [layers.Dense(16, "sigmoid"), layers.Dense(16, "tanh"), layers.Dense(4, "softmax")],
    ),
    "dropout": (
        (20,),
        lambda: [layers.Dense(16, "relu"), layers.Dropout(0.2), layers.Dense(4, "softmax")],
    ),
    "convolution": (
        (10, 10, 1),
        lambda: [layers.Conv2D(8, 3, activation="relu"), layers.MaxPooling2D(), layers.Flatten(),
                 layers.Dense(4, "softmax")],
    ),
}  # fmt: skip


class Own(gpunn.Model):
    def __init__(self, chain: list[Any], **options: Any) -> None:
        super().__init__(**options)
        self.chain = chain

    def call(self, x: Any, training: bool | None = None) -> Any:
        for layer in self.chain:
            x = layer(x)
        return x


def operations(own: bool, case: str) -> tuple[Counter[str], str | None]:
    """Return the operations of a step, and its launch mode on an H200."""
    shape, chain = CHAINS[case]
    backend = dry.make_backend(known_gpu("H200"))
    if own:
        model: Any = Own(chain(), backend=backend)
        model.build((None, *shape))
    else:
        model = gpunn.Sequential([layers.Input(shape), *chain()], backend=backend)
    model.compile("adam", "sparse_categorical_crossentropy")
    program: Any = step_program(model, 16, 4)
    with backend.profile() as found:
        program.run(1)
    program.run(2)
    return Counter(operation.name for operation in found), program.program.mode


@pytest.mark.parametrize("case", CHAINS)
def test_a_model_with_a_call_computes_only_the_gradients_that_are_wanted(case: str) -> None:
    (own, own_mode), (chain, mode) = operations(True, case), operations(False, case)
    assert own_mode == mode
    products = [name for name in chain if "matmul" in name or "convolution" in name]
    assert {name: own[name] for name in products} == {name: chain[name] for name in products}
    assert (own - chain).total() <= 4


class Step(gpunn.Sequential):
    def train_step(self, data: Any) -> Any:
        return super().train_step(data)


class Documented(gpunn.Sequential):
    """The step that Keras's guide shows."""

    def train_step(self, data: Any) -> Any:
        x, y = data
        with gpunn.GradientTape() as tape:
            y_pred = self(x, training=True)
            loss = self.compute_loss(x=x, y=y, y_pred=y_pred)
        slopes = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply(slopes, self.trainable_variables)
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(loss)
            else:
                metric.update_state(y, y_pred)
        return {metric.name: metric.result() for metric in self.metrics}


BENCHMARKS: dict[str, tuple[int, str, tuple[int, ...], Chain]] = {
    "W1": (
        10, "sgd", (784,),
        lambda: [layers.Dense(16, "sigmoid"), layers.Dense(16, "sigmoid"),
                 layers.Dense(10, "softmax")],
    ),
    "W2": (
        32, "adam", (784,),
        lambda: [layers.Dense(128, "relu"), layers.Dropout(0.2), layers.Dense(10, "softmax")],
    ),
    "W4": (
        32, "adam", (28, 28, 1),
        lambda: [layers.Conv2D(16, 3, activation="relu"), layers.MaxPooling2D(),
                 layers.Conv2D(32, 3, activation="relu"), layers.Flatten(),
                 layers.Dense(10, "softmax")],
    ),
}  # fmt: skip


def of_a_step(kind: type[Any], case: str, metrics: list[str]) -> tuple[Counter[str], list[Any]]:
    """Return the operations of a step of fit, and its history."""
    batch, optimizer, shape, chain = BENCHMARKS[case]
    gpunn.utils.set_random_seed(0)
    model = kind([layers.Input(shape), *chain()], backend="numpy")
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=metrics)
    r = np.random.default_rng(0)
    x, y = r.random((8 * batch, *shape), np.float32), r.integers(0, 10, 8 * batch)
    model.fit(x, y, batch_size=batch, verbose=0)
    lists = []
    for steps in (4, 8):
        with model.backend.profile() as found:
            history = model.fit(x[: steps * batch], y[: steps * batch], batch, verbose=0).history
        lists.append(Counter(operation.name for operation in found))
    each = {name: count // 4 for name, count in (lists[1] - lists[0]).items()}
    return Counter(each), [*history.values(), *model.get_weights()]


@pytest.mark.parametrize("kind", [Step, Documented])
@pytest.mark.parametrize("metrics", [[], ["accuracy"]], ids=["", "accuracy"])
@pytest.mark.parametrize("case", BENCHMARKS)
def test_a_train_step_does_what_fit_does(case: str, metrics: list[str], kind: type[Any]) -> None:
    """It checks the labels in each step, and counts right answers by themselves. If it draws random
    numbers, it counts its calls apart from the optimizer's steps."""
    (own, found), (plain, wanted) = (of_a_step(k, case, metrics) for k in (kind, gpunn.Sequential))
    more = 1 + len(metrics) + ("dropout" in own)
    assert own.total() <= plain.total() + more, (own - plain, plain - own)
    for one, other in zip(found, wanted, strict=True) if case != "W2" else ():  # other masks
        assert_allclose(one, other, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("kind", [Step, Documented])
@pytest.mark.parametrize(
    ("activation", "loss"),
    [("softmax", "sparse_categorical_crossentropy"), ("softmax", "categorical_crossentropy"),
     ("sigmoid", "binary_crossentropy")],
)  # fmt: skip
def test_a_train_step_gives_the_weights_of_fit(
    activation: str, loss: str, kind: type[Any], backend: str
) -> None:
    """To the bit, once it is a program: the softmax or sigmoid is fused with the loss."""
    r = np.random.default_rng(0)
    x, labels = r.random((30, 6), np.float32), r.integers(0, 4, 30)
    y = labels if loss.startswith("sparse") else np.eye(4, dtype=np.float32)[labels]

    def trained(kind: type[Any]) -> tuple[list[float], list[np.ndarray]]:
        gpunn.utils.set_random_seed(0)
        chain = [layers.Input((6,)), layers.Dense(5, "tanh"), layers.Dense(4, activation)]
        model = kind(chain, backend=backend)
        model.compile(gpunn.optimizers.SGD(0.5), loss)
        weights = model.get_weights()
        model.fit(x, y, 10, epochs=2, shuffle=False, verbose=0)
        model.set_weights(weights)
        history = model.fit(x, y, 10, epochs=3, shuffle=False, verbose=0).history
        return history["loss"], model.get_weights()

    (found, own), (wanted, plain) = trained(kind), trained(gpunn.Sequential)
    assert_allclose(found, wanted, rtol=1e-12)
    for one, other in zip(own, plain, strict=True):
        np.testing.assert_array_equal(one, other)


def test_fit_and_a_function_in_turns_train_as_python_does(backend: str, doubles: None) -> None:
    """They share the optimizer's counters, on a GPU in one kernel."""
    gpunn.use_backend(backend)
    r = np.random.default_rng(0)
    x, y = r.standard_normal((12, 3)), r.standard_normal((12, 1))

    def trained(compiled: bool) -> tuple[list[int], list[np.ndarray]]:
        gpunn.utils.set_random_seed(0)
        model = gpunn.Sequential([layers.Input((3,)), layers.Dense(4, "tanh"), layers.Dense(1)])
        schedule = gpunn.optimizers.schedules.ExponentialDecay(0.1, 3, 0.5)
        model.compile(gpunn.optimizers.Adam(schedule), "mse")
        loss, counts = gpunn.losses.MeanSquaredError(), []

        def step(x: Any, y: Any) -> Any:
            with gpunn.GradientTape() as tape:
                value = loss(y, model(x, training=True))
            weights = model.trainable_variables
            model.optimizer.apply(tape.gradient(value, weights), weights)
            return value

        call = gpunn.function(step) if compiled else step
        for k in range(5):
            for _ in range(3):
                call(x[:4], y[:4])
            counts.append(int(model.optimizer.iterations))
            if k % 2 == 0:
                model.fit(x, y, batch_size=4, shuffle=False, verbose=0)
            else:
                model.train_on_batch(x, y)
            counts.append(int(model.optimizer.iterations))
        return counts, model.get_weights()

    (counts, weights), (python_counts, python_weights) = trained(True), trained(False)
    assert counts == python_counts == [3, 6, 9, 10, 13, 16, 19, 20, 23, 26]
    for one, other in zip(weights, python_weights, strict=True):
        assert_allclose(one, other, rtol=1e-9)
