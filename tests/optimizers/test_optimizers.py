"""Test every registered optimizer, and the accumulation, averages and scaling common to all."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
import registered
from numpy.testing import assert_allclose, assert_array_equal

import gpunn
from gpunn import callbacks, layers
from gpunn.backends import get_backend
from gpunn.common import registry

each_case = pytest.mark.parametrize(
    ("name", "arguments"), registered.cases("optimizer"), ids=registered.label
)
each_name = pytest.mark.parametrize("name", registered.names("optimizer"))
HOSTS = ("numpy", "compiled")
# Other tests compare each GPU update with NumPy's; a few are enough here.
each_name_somewhere = pytest.mark.parametrize(
    ("name", "backend"),
    [(name, backend) for name in registered.names("optimizer") for backend in HOSTS]
    + [(name, "emulated") for name in ("Lamb", "RMSprop")],
)
COMMON = (
    "weight_decay", "clipnorm", "clipvalue", "global_clipnorm", "use_ema", "ema_momentum",
    "ema_overwrite_frequency", "loss_scale_factor", "gradient_accumulation_steps", "name",
)  # fmt: skip


def make(name: str, arguments: dict[str, Any], **others: Any) -> Any:
    return registered.make("optimizer", name, {**arguments, **others})


def gradients(steps: int, dtype: str = "float64") -> list[list[np.ndarray]]:
    """Gradients of two weights, a matrix and a vector."""
    random = np.random.default_rng(1)
    return [[random.normal(size=s).astype(dtype) for s in ((5, 4), (4,))] for _ in range(steps)]


def weights(dtype: str = "float64") -> list[np.ndarray]:
    random = np.random.default_rng(2)
    return [random.normal(size=s).astype(dtype) for s in ((5, 4), (4,))]


def path(optimizer: Any, given: list[list[np.ndarray]], dtype: str = "float64") -> list[np.ndarray]:
    """Return the weights after updates with these gradients."""
    w = weights(dtype)
    for g in given:
        optimizer.apply(g, w)
    return w


# -- minima


BOWL = np.array([1.0, 3.0, 10.0]), np.array([1.0, -2.0, 0.5])  # curvatures, minimum


def bowl(w: np.ndarray) -> tuple[float, np.ndarray]:
    curvature, minimum = BOWL
    return float(0.5 * curvature @ (w - minimum) ** 2), curvature * (w - minimum)


def valley(w: np.ndarray) -> tuple[float, np.ndarray]:
    """Rosenbrock's function, whose minimum, 0, is at (1, 1)."""
    x, y = w
    value = (1 - x) ** 2 + 100 * (y - x * x) ** 2
    return value, np.array([2 * (x - 1) - 400 * x * (y - x * x), 200 * (y - x * x)])


# Rate, and the value to get below: in the bowl within 200 updates from 7.75, in the valley within
# 2000 from 24.2. Optimizers whose steps are at least the rate, however flat the function, stay that
# far away. Lamb's steps are a fraction of the weights: it circles there unless its rate falls.
FALLING = gpunn.optimizers.schedules.CosineDecay(0.03, 2000)
MINIMA: dict[str, tuple[dict[str, Any], tuple[float, float], tuple[Any, float]]] = {
    "SGD": ({"momentum": 0.9}, (0.03, 1e-6), (0.003, 1e-6)),
    "Adam": ({}, (0.3, 1e-6), (0.1, 1e-6)),
    "AdamW": ({"weight_decay": 0.0}, (0.3, 1e-6), (0.1, 1e-6)),
    "Adamax": ({}, (0.3, 1e-6), (1.0, 1e-6)),
    "Nadam": ({}, (0.3, 1e-6), (0.03, 1e-4)),
    "Lamb": ({}, (0.03, 0.05), (FALLING, 1e-5)),
    "Adagrad": ({}, (1.0, 1e-6), (1.0, 0.01)),
    "Adadelta": ({}, (10.0, 0.2), (1.0, 0.3)),
    "RMSprop": ({}, (0.03, 1e-6), (0.003, 0.01)),
    "Lion": ({}, (0.01, 1e-3), (0.003, 0.01)),
    "Ftrl": ({}, (1.0, 1e-6), (1.0, 0.01)),
    "Adafactor": ({}, (0.3, 1e-6), (0.1, 0.1)),
    "ScheduleFreeAdamW": ({}, (0.3, 1e-6), (0.1, 0.01)),
    "Muon": ({"adam_weight_decay": 0.0}, (0.3, 1e-6), (0.1, 1e-6)),
}
DOWNHILL = ({}, (0.01, 7.7), (0.001, 24.0))  # required of any other optimizer


@each_name
def test_finds_the_bottom_of_a_bowl_and_the_way_through_a_valley(name: str) -> None:
    arguments, *runs = MINIMA.get(name, DOWNHILL)
    for (rate, limit), f, start, updates in zip(
        runs, (bowl, valley), ([0.0, 0.0, 0.0], [-1.2, 1.0]), (200, 2000), strict=True
    ):
        optimizer, w = make(name, arguments, learning_rate=rate), np.array(start)
        assert f(w)[0] > 7
        for _ in range(updates):
            optimizer.apply([f(w)[1]], [w])
        assert f(w)[0] < limit


# -- properties


@each_case
def test_no_gradient_no_decay_no_change(name: str, arguments: dict) -> None:
    if name == "Ftrl":  # whose weights follow from the gradients alone
        pytest.skip("test_optimizers_beside_keras.py::test_ftrl_forgets_the_first_weights")
    others = {"adam_weight_decay": 0.0} if name == "Muon" else {}
    optimizer = make(name, arguments, weight_decay=0.0, **others)
    after = path(optimizer, [[np.zeros((5, 4)), np.zeros(4)]] * 3)
    for ours, before in zip(after, weights(), strict=True):
        assert_array_equal(ours, before)


DIVIDING = (
    "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "Lamb", "Lion", "Nadam", "RMSprop",
)  # fmt: skip


@pytest.mark.parametrize("name", [*DIVIDING, "SGD"])
def test_the_unit_of_the_gradient_does_not_matter(name: str) -> None:
    """For optimizers that divide by the gradient's size, with a negligible epsilon."""
    arguments = {"initial_accumulator_value": 0.0} if name == "Adagrad" else {}
    if "epsilon" in registered.make("optimizer", name, {}).get_config():
        arguments["epsilon"] = 1e-30
    given = gradients(20)
    larger = [[1024 * g for g in step] for step in given]
    once, again = (path(make(name, arguments), g) for g in (given, larger))
    if name not in DIVIDING:
        assert not np.allclose(once[0], again[0], rtol=1e-6)
        return
    for a, b in zip(once, again, strict=True):
        assert_allclose(a, b, rtol=1e-9)


@each_case
def test_single_precision_goes_the_same_way(name: str, arguments: dict) -> None:
    single = path(make(name, arguments), gradients(30, "float32"), "float32")
    for a, b in zip(single, path(make(name, arguments), gradients(30)), strict=True):
        assert a.dtype == np.float32
        assert_allclose(a, b, rtol=0, atol=2e-5)


def test_a_step_of_lamb_is_a_part_of_the_weights() -> None:
    """The norm of a step is the rate times the parameter's norm, whatever the gradient."""
    optimizer, w = gpunn.optimizers.Lamb(0.125), weights()
    for g in gradients(5):
        before = [p.copy() for p in w]
        optimizer.apply([100 * g[0], 0.01 * g[1]], w)
        for old, new in zip(before, w, strict=True):
            assert np.linalg.norm(new - old) == pytest.approx(0.125 * np.linalg.norm(old))


def test_lamb_on_many_weights_is_lamb_on_few() -> None:
    """A parameter that threads update piece by piece has a single norm."""
    random = np.random.default_rng(0)
    w, g = random.normal(size=(2, 3 << 19))
    ours, lamb = w.copy(), gpunn.optimizers.Lamb(0.1, beta_1=0.5, beta_2=0.75)
    lamb.apply([g], [ours])
    direction = g / (np.abs(g) + lamb.epsilon)  # the bias-corrected means of one gradient
    expected = w - 0.1 * np.linalg.norm(w) / np.linalg.norm(direction) * direction
    assert_allclose(ours, expected, rtol=1e-9, atol=1e-12)


# -- Keras, for optimizers that PyTorch does not have


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("Lamb", {"learning_rate": 0.02}),
        ("Lamb", {"learning_rate": 0.02, "beta_1": 0.8, "weight_decay": 0.5, "clipnorm": 0.5}),
        ("Lion", {"learning_rate": 0.01}),
        ("Lion", {"learning_rate": 0.01, "beta_1": 0.5, "beta_2": 0.8, "weight_decay": 0.1}),
        ("Adam", {"gradient_accumulation_steps": 3, "global_clipnorm": 0.5, "weight_decay": 0.1}),
        ("SGD", {"use_ema": True, "ema_momentum": 0.8, "ema_overwrite_frequency": 4}),
        ("Nadam", {"use_ema": True, "ema_momentum": 0.5, "gradient_accumulation_steps": 2,
                   "ema_overwrite_frequency": 3, "loss_scale_factor": 64.0}),
    ],
    ids=registered.label,
)  # fmt: skip
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # in Keras
def test_the_way_is_that_of_keras(keras: Any, name: str, arguments: dict) -> None:
    theirs, ours = getattr(keras.optimizers, name)(**arguments), make(name, arguments)
    variables = [keras.Variable(w) for w in weights("float32")]
    w = weights("float32")
    for g in gradients(20, "float32"):
        theirs.apply([keras.ops.convert_to_tensor(x) for x in g], variables)
        ours.apply(g, w)
    assert int(theirs.iterations) == ours.iterations
    for a, b in zip(variables, w, strict=True):
        assert_allclose(b, keras.ops.convert_to_numpy(a), rtol=0, atol=1e-5)


# -- arguments


@each_name
def test_the_signature_has_all_arguments(name: str) -> None:
    cls: Any = registry.entries("optimizer")[name]
    arguments = list(inspect.signature(cls).parameters)
    assert arguments[0] == "learning_rate" and set(COMMON) < set(arguments)
    assert [a for a in arguments if a in COMMON and a != "weight_decay"] == list(COMMON[1:])
    config = cls(clipvalue=0.5, name="mine", use_ema=True, ema_momentum=0.5).get_config()
    assert list(config) == arguments
    assert (config["clipvalue"], config["name"], config["ema_momentum"]) == (0.5, "mine", 0.5)
    assert cls.from_config(config).get_config() == config
    with pytest.raises(TypeError, match="clipnrm"):
        cls(clipnrm=1.0)


def test_a_custom_optimizer_has_its_own_signature() -> None:
    class Half(gpunn.optimizers.Adagrad):
        def __init__(self, part: float = 0.5) -> None:
            super().__init__(0.1 * part)
            self.part = part

    assert list(inspect.signature(Half).parameters) == ["part"]


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("SGD", {"gradient_accumulation_steps": 1}, "gradient_accumulation_steps must be"),
        ("SGD", {"gradient_accumulation_steps": 2.5}, "gradient_accumulation_steps must be"),
        ("Adam", {"use_ema": True, "ema_momentum": 1.5}, "ema_momentum must be"),
        ("Adam", {"use_ema": True, "ema_overwrite_frequency": -1}, "ema_overwrite_frequency must"),
        ("Adam", {"loss_scale_factor": 0.0}, "loss_scale_factor must be positive"),
        ("AdamW", {"weight_decay": None}, "weight_decay must be a number"),
        ("Lion", {"beta_1": 0.0}, "beta_1 must be above 0"),
        ("Lion", {"beta_1": -0.1}, "beta_1 must be from 0"),
        ("RMSprop", {"rho": 1.5}, "rho must be"),
        ("RMSprop", {"momentum": 2.0}, "momentum must be"),
        ("Adagrad", {"initial_accumulator_value": -0.1}, "initial_accumulator_value must be"),
        ("Nadam", {"beta_1": 1.0}, "beta_1 must be"),
        ("Adadelta", {"epsilon": -1e-7}, "epsilon must be"),
    ],
    ids=registered.label,
)
def test_arguments_out_of_range_are_refused(name: str, arguments: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make(name, arguments)


# -- in a model


X = np.random.default_rng(3).normal(size=(24, 6)).astype("float32")
Y = np.random.default_rng(4).integers(0, 3, 24)
AVERAGED = {"use_ema": True, "ema_momentum": 0.5}


def network(optimizer: Any, backend: str = "numpy", frozen: bool = False, **options: Any) -> Any:
    gpunn.utils.set_random_seed(7)
    model = gpunn.Sequential(
        [
            layers.Input((6,)),
            layers.Dense(5, "tanh", trainable=not frozen, name="hidden"),
            layers.Dense(3, "softmax", name="output"),
        ],
        backend=backend,
        **options,
    )
    model.compile(optimizer, "sparse_categorical_crossentropy")
    return model


def trained(model: Any, **options: Any) -> list[np.ndarray]:
    model.fit(X, Y, **{"batch_size": 8, "epochs": 3, "verbose": 0, **options})
    return model.get_weights()


def assert_equal(a: list[np.ndarray], b: list[np.ndarray]) -> None:
    for x, y in zip(a, b, strict=True):
        assert_array_equal(x, y)


@pytest.mark.parametrize(
    "common",
    [{}, {**AVERAGED, "gradient_accumulation_steps": 2}],
    ids=["plain", "accumulated and averaged"],
)
@each_name_somewhere
def test_training_goes_on_where_it_was_saved(name: str, common: dict, backend: str) -> None:
    """After the first of three batches, in the middle of an accumulation."""
    batches = [(X[at : at + 8], Y[at : at + 8]) for at in (0, 8, 16)]

    def steps(model: Any, some: list) -> None:
        for x, y in some:
            model.train_on_batch(x, y)

    whole = network(make(name, common), backend)
    steps(whole, batches)
    first = network(make(name, common), backend)
    steps(first, batches[:1])
    second = network(make(name, common), backend)
    second.set_weights(first.get_weights())
    second.set_training_state(*first.training_state())
    steps(second, batches[1:])
    assert_equal(second.get_weights(), whole.get_weights())
    assert second.optimizer.iterations == whole.optimizer.iterations


@each_name_somewhere
def test_accumulated_batches_are_one_large_one(name: str, backend: str) -> None:
    """Also where a graph holds many steps: the device itself determines when an update is due."""
    arguments = {"weight_decay": 0.1, "clipnorm": 0.5}
    options = {"shuffle": False, "epochs": 5}
    large = network(make(name, arguments), backend, dtype="float64")
    small = network(make(name, arguments, gradient_accumulation_steps=3), backend, dtype="float64")
    results = trained(large, batch_size=24, **options), trained(small, batch_size=8, **options)
    for a, b in zip(*results, strict=True):
        assert_allclose(a, b, rtol=1e-9, atol=1e-12)
    assert large.optimizer.iterations == small.optimizer.iterations == 5


class OwnSGD(gpunn.optimizers.SGD):
    """It has no kernel: on a GPU it runs as array functions."""

    functor = None


@pytest.mark.parametrize("backend", ["numpy", "compiled", "emulated"])
def test_accumulation_in_an_optimizer_without_a_kernel(backend: str) -> None:
    options = {"gradient_accumulation_steps": 2, "momentum": 0.5, "weight_decay": 0.1}
    results = [
        trained(network(cls(0.1, **options), backend, dtype="float64"), epochs=5)
        for cls in (gpunn.optimizers.SGD, OwnSGD)
    ]
    for a, b in zip(*results, strict=True):
        assert_allclose(a, b, rtol=1e-12)


@pytest.mark.parametrize("backend", ["numpy", "compiled", "emulated"])
def test_scaling_the_loss_by_a_power_of_two_changes_nothing(backend: str) -> None:
    plain, scaled = (
        trained(network(gpunn.optimizers.Adam(0.01, loss_scale_factor=factor), backend))
        for factor in (None, 1024.0)
    )
    assert_equal(plain, scaled)


@pytest.mark.parametrize("backend", ["numpy", "compiled", "emulated"])
@pytest.mark.parametrize(("factor", "expected"), [(None, 0.0), (2.0**60, -(2.0**-95))])
def test_scaling_the_loss_saves_what_is_too_small(
    factor: float | None, expected: float, backend: str
) -> None:
    """Backward, 2^-75 times a weight of 2^-80 would be zero, even times an input of 2^60."""
    dense = [layers.Dense(1, use_bias=False) for _ in range(2)]
    model = gpunn.Sequential([layers.Input((1,)), *dense], backend=backend)
    model.compile(gpunn.optimizers.SGD(1.0, loss_scale_factor=factor), "mse")
    model.set_weights([[[0.0]], [[2.0**-80]]])
    x, y = (np.array([[value]], "float32") for value in (2.0**60, -(2.0**-76)))
    model.train_on_batch(x, y)
    assert model.get_weights()[0].item() == expected


@pytest.mark.parametrize("backend", ["numpy", "compiled", "emulated"])
def test_training_ends_with_the_average(backend: str) -> None:
    seen: list[list[np.ndarray]] = []
    watch = callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append(model.get_weights())
    )
    model = network(gpunn.optimizers.SGD(0.5, **AVERAGED), backend, frozen=True)
    before = model.get_weights()
    after = trained(model, callbacks=[watch])
    average = seen[0]
    for now in seen[1:]:
        average = [0.5 * a + 0.5 * w for a, w in zip(average, now, strict=True)]
    assert_equal(after[:2], before[:2])  # frozen weights are not averaged either
    for ours, theirs, last in zip(after[2:], average[2:], seen[-1][2:], strict=True):
        assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7)
        assert not np.allclose(ours, last, rtol=1e-3)


def test_the_average_is_swapped_in_for_evaluation_and_for_others() -> None:
    seen: dict[str, list[np.ndarray]] = {}

    class Watch(callbacks.Callback):
        def __init__(self, name: str) -> None:
            self.name = name

        def note(self, event: str) -> None:
            seen[f"{event} {self.name}"] = self.model.get_weights()

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.note("batch")

        def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
            self.note("test")

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.note(f"epoch {epoch}")

    model = network(gpunn.optimizers.SGD(0.5, **AVERAGED))
    swap = callbacks.SwapEMAWeights(swap_on_epoch=True)
    watches = [Watch("before"), swap, Watch("behind")]
    after = trained(model, epochs=2, callbacks=watches, validation_data=(X, Y))
    assert_equal(seen["epoch 1 before"], seen["batch before"])
    assert_equal(seen["epoch 1 behind"], seen["test behind"])
    assert_equal(seen["epoch 1 behind"], after)
    assert not np.array_equal(seen["epoch 1 before"][0], after[0])
    assert_equal(trained(network(gpunn.optimizers.SGD(0.5, **AVERAGED)), epochs=2), after)


def test_swapping_needs_an_average() -> None:
    with pytest.raises(ValueError, match="use_ema=True"):
        trained(network("sgd"), callbacks=[callbacks.SwapEMAWeights()])


def test_accumulation_and_average_cost_nothing_when_off() -> None:
    model = network("adam")
    with model.backend.profile() as operations:
        model.train_on_batch(X, Y)
    asked = {operation.name for operation in operations}
    assert not asked & {"accumulate_gradients", "average_weights", "clip_gradients"}
    assert set(model._storage.slots) == {"m", "v"}
    assert get_backend("numpy").operations.keys() > {"accumulate_gradients", "average_weights"}


def test_compile_without_an_optimizer() -> None:
    model = network("sgd")
    model.compile(loss="sparse_categorical_crossentropy")  # Keras's default
    assert isinstance(model.optimizer, gpunn.optimizers.RMSprop)
    model.compile(None, "sparse_categorical_crossentropy")
    assert model.evaluate(X, Y, verbose=0) > 0
    with pytest.raises(ValueError, match="without an optimizer"):
        model.fit(X, Y, verbose=0)


@pytest.mark.parametrize(
    "kind", [np.float32, np.array, gpunn.ops.convert_to_tensor, gpunn.Variable]
)
def test_a_learning_rate_may_be_an_array_without_axes(kind: Any) -> None:
    optimizer = gpunn.optimizers.SGD(kind(0.5))
    assert optimizer.learning_rate == 0.5
    optimizer.learning_rate = kind(0.25)
    assert optimizer.learning_rate == 0.25
    optimizer.learning_rate.assign(kind(0.125))
    assert optimizer.get_config()["learning_rate"] == 0.125
    for wrong in ([0.5], [[0.5]], True, float("nan")):
        with pytest.raises((TypeError, ValueError), match="learning_rate"):
            optimizer.learning_rate = np.array(wrong)
