"""Test properties of training in absolute numbers, which parity between backends would not show."""

from __future__ import annotations

import math
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import registered
from numpy.testing import assert_allclose, assert_array_equal

import gpunn
from gpunn import callbacks, layers
from gpunn.backends import get_backend
from gpunn.backends.shared.geometry import Geometry
from gpunn.core.storage import Parameter, ParameterStorage
from gpunn.optimizers import SGD

each_backend = pytest.mark.parametrize("backend", ["numpy", "compiled", "emulated"])


class Several(layers.Layer):
    """Parameters of these (size, decay, multiplier), next to each other; it returns x unchanged."""

    def __init__(self, table: list[tuple[int, bool, float]], **options: Any) -> None:
        super().__init__(**options)
        self.table = table

    def build(self, input_shape: Any) -> None:
        for number, (size, decay, multiplier) in enumerate(self.table):
            self.parameter((size,), "ones", f"p{number}", decay=decay, multiplier=multiplier)

    def forward(self, call: Any) -> None:
        call.backend.xp.multiply(call.x, 1, out=call.y)

    def backward(self, call: Any) -> None:
        for parameter in self.weights:
            call.backend.xp.multiply(parameter.gradient, 0, out=parameter.gradient)


# -- segments


SIZES = (1, 15, 16, 17, 31, 32, 33, 2, 1, 100)  # around the boundaries of segments


@each_backend
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_no_parameter_lies_in_anothers_place(backend: str, dtype: str) -> None:
    """Each has its own values, gradient and slots, whether it is trained or state."""
    made = [Parameter((n,), name=f"{k}", trained=k % 3 != 0) for k, n in enumerate(SIZES)]
    storage = ParameterStorage(get_backend(backend), dtype, made)
    storage.add_slots(["a", "b"])
    for number, p in enumerate(made):
        p.assign(np.full(p.shape, number + 1.0))
        if p.trained:
            slots = storage.slots
            for factor, flat in enumerate((storage.gradients, slots["a"], slots["b"])):
                value = np.full(p.shape, 10.0 ** (factor + 1) * (number + 1), dtype)
                storage.backend.write(storage.segment(flat, p), value)
    for number, p in enumerate(made):
        assert_array_equal(p.numpy(), np.full(p.shape, number + 1.0, dtype))
        if p.trained:
            assert_array_equal(
                storage.backend.read(p.gradient), np.full(p.shape, 10.0 * (number + 1))
            )
            for factor, name in ((100.0, "a"), (1000.0, "b")):
                own = storage.backend.read(storage.segment(storage.slots[name], p))
                assert_array_equal(own, np.full(p.shape, factor * (number + 1)))


@pytest.mark.in_turn(3)
@each_backend
@pytest.mark.all_backends
@pytest.mark.parametrize("units", [3, 64, 200])
@pytest.mark.parametrize("epochs", [1, 2, 5])
@pytest.mark.parametrize("batch_size", [8, 5])
@pytest.mark.parametrize(("dtype", "rtol"), [("float32", 1e-4), ("float64", 1e-9)])
def test_after_training_the_gradients_are_those_of_the_last_batch(
    backend: str, units: int, epochs: int, batch_size: int, dtype: str, rtol: float
) -> None:
    draw = np.random.default_rng(0)
    x, y = draw.normal(size=(8, 64)), draw.normal(size=(8, 1))
    network = [gpunn.Input((64,)), layers.Dense(units), layers.Dense(1)]
    model = gpunn.Sequential(network, backend=backend, dtype=dtype)
    model.compile(SGD(0.01), "mse")
    values = [value.astype("float64") for value in model.get_weights()]
    model.fit(x, y, batch_size=batch_size, epochs=epochs, shuffle=False, verbose=0)
    for start in [*range(0, 8, batch_size)] * epochs:
        rows = slice(start, start + batch_size)
        w, b, v, c = values
        hidden = x[rows] @ w + b
        dy = 2 * (hidden @ v + c - y[rows]) / len(hidden)
        gradients = x[rows].T @ (dy @ v.T), (dy @ v.T).sum(0), hidden.T @ dy, dy.sum(0)
        values = [value - 0.01 * g for value, g in zip(values, gradients, strict=True)]
    for weight, value, gradient in zip(model.weights, values, gradients, strict=True):
        found = model.backend.read(weight.gradient).reshape(gradient.shape)
        assert_allclose(found, gradient, rtol, rtol)
        assert_allclose(weight.numpy(), value, rtol, rtol)


# Ftrl computes a weight from all its gradients, and ScheduleFreeAdamW averages decayed weights:
# see tests/optimizers/test_optimizers_beside_keras.py.
DECAYED = [
    name for name in registered.names("optimizer") if name not in ("Ftrl", "ScheduleFreeAdamW")
]


@pytest.mark.parametrize(
    ("name", "backend"),
    [(name, backend) for name in DECAYED for backend in ("numpy", "compiled")]
    + [(name, "emulated") for name in ("SGD", "Adam", "Lamb")],
)
def test_each_neighbour_decays_as_it_should(name: str, backend: str) -> None:
    """Without a gradient, a weight loses rate x decay of itself in each update, or nothing."""
    table = [
        (3, True, 1.0), (16, False, 1.0), (17, False, 1.0), (1, True, 1.0), (5, True, 0.5),
        (2, False, 0.5), (16, True, 2.0), (1, True, 2.0), (1, False, 1.0),
    ]  # fmt: skip
    model = gpunn.Sequential([layers.Input((2,)), Several(table)], backend=backend)
    of_vectors = {"adam_weight_decay": 0.5} if name == "Muon" else {}
    options = {"learning_rate": 0.125, "weight_decay": 0.5, **of_vectors}
    model.compile(registered.make("optimizer", name, options), "mse")
    nothing = np.zeros((4, 2), "float32")
    for _ in range(2):
        model.train_on_batch(nothing, nothing)
    for values, (size, decay, multiplier) in zip(model.get_weights(), table, strict=True):
        left = (1 - 0.125 * multiplier * 0.5) ** 2 if decay else 1.0
        assert_allclose(values, np.full(size, left), rtol=1e-6, err_msg=f"{decay} {multiplier}")


@each_backend
@pytest.mark.parametrize(
    ("clipping", "expected"),
    [({"clipvalue": 1.5}, (1.5, 1.5)), ({"clipnorm": 2.5}, (2.5, 2.5)),
     ({"global_clipnorm": 2.5}, (1.5, 2.0))],
    ids=["value", "norm", "global"],
)  # fmt: skip
def test_the_norm_is_that_of_what_is_trained(
    clipping: dict, expected: tuple[float, float], backend: str
) -> None:
    """Gradients of 3 and 4, beside a frozen layer's of 1.5 or more that was never cleared."""
    chain = [layers.Dense(1, use_bias=False, name=name) for name in ("frozen", "a", "b")]
    model = gpunn.Sequential([layers.Input((1,)), *chain], backend=backend)
    model.compile(SGD(1.0, **clipping), "mae")  # a slope of 1
    model.set_weights([[[1.0]], [[40.0]], [[30.0]]])
    model.train_on_batch(np.ones((1, 1)), np.zeros((1, 1)))
    chain[0].trainable = False
    model.set_weights([[[1.0]], [[4.0]], [[3.0]]])
    model.train_on_batch(np.ones((1, 1)), np.zeros((1, 1)))
    frozen, a, b = (w.item() for w in model.get_weights())
    assert frozen == 1.0
    assert_allclose((4 - a, 3 - b), expected, rtol=1e-6)


# -- the position of epsilon


def step_of(name: str, g: float, s: dict[str, float], t: int) -> float:
    """The amount subtracted from a weight at a rate of 1, according to Keras's documentation."""
    e = 0.1
    if name == "Adagrad":
        s["a"] = s.get("a", 0.1) + g * g
        return g / math.sqrt(s["a"] + e)
    if name == "RMSprop":
        s["a"] = 0.9 * s.get("a", 0.0) + 0.1 * g * g
        return g / math.sqrt(s["a"] + e)
    if name == "Adadelta":
        s["a"] = 0.95 * s.get("a", 0.0) + 0.05 * g * g
        change = g * math.sqrt(s.get("d", 0.0) + e) / math.sqrt(s["a"] + e)
        s["d"] = 0.95 * s.get("d", 0.0) + 0.05 * change * change
        return change
    s["m"] = 0.9 * s.get("m", 0.0) + 0.1 * g
    if name == "Adamax":
        s["u"] = max(0.999 * s.get("u", 0.0), abs(g))
        return s["m"] / (1 - 0.9**t) / (s["u"] + e)
    s["v"] = 0.999 * s.get("v", 0.0) + 0.001 * g * g
    return s["m"] * math.sqrt(1 - 0.999**t) / (1 - 0.9**t) / (math.sqrt(s["v"]) + e)


@each_backend
@pytest.mark.parametrize("name", ["Adagrad", "RMSprop", "Adadelta", "Adamax", "Adam", "AdamW"])
def test_a_large_epsilon_stands_where_it_belongs(name: str, backend: str) -> None:
    """At 1e-7 its position would make no visible difference."""
    model = gpunn.Sequential(
        [layers.Input((1,)), layers.Dense(1, use_bias=False)], dtype="float64", backend=backend
    )
    decay = {"weight_decay": 0.0} if name == "AdamW" else {}
    model.compile(
        registered.make("optimizer", name, {"learning_rate": 1.0, "epsilon": 0.1, **decay}), "mae"
    )
    model.set_weights([[[50.0]]])
    expected, slots = 50.0, {}
    for t, x in enumerate((0.5, 0.25, 1.0), 1):  # for mae, x is the gradient
        model.train_on_batch(np.array([[x]]), np.zeros((1, 1)))
        expected -= step_of(name, x, slots, t)
        assert_allclose(model.get_weights()[0].item(), expected, rtol=1e-12)


# -- resume


class Crash(Exception):
    pass


class Crashing(callbacks.Callback):
    """Ends a run after a total number of batches."""

    def __init__(self, batches: int) -> None:
        self.left = batches

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.left -= 1
        if not self.left:
            raise Crash


X = np.random.default_rng(3).normal(size=(21, 4)).astype("float32")
Y = np.random.default_rng(4).integers(0, 3, 21)
EPOCHS, STEPS = 4, 6  # batches of 4 rows, the last of 1

LISTENERS: dict[str, Any] = {
    "ModelCheckpoint every 4": lambda at: callbacks.ModelCheckpoint(
        at / "{epoch}-{batch}", save_freq=4
    ),
    "ModelCheckpoint every 9": lambda at: callbacks.ModelCheckpoint(
        at / "{epoch}-{batch}", save_freq=9, save_weights_only=True
    ),
    "ModelCheckpoint of the best": lambda at: callbacks.ModelCheckpoint(
        at / "{epoch}", "loss", save_best_only=True
    ),
    "EarlyStopping": lambda at: callbacks.EarlyStopping(
        "loss", min_delta=0.05, patience=2, restore_best_weights=True
    ),
    "ReduceLROnPlateau that waits": lambda at: callbacks.ReduceLROnPlateau(
        "loss", 0.5, patience=2, min_delta=10.0
    ),
    "ReduceLROnPlateau that rests": lambda at: callbacks.ReduceLROnPlateau(
        "loss", 0.5, patience=1, min_delta=10.0, cooldown=3
    ),
    "LearningRateScheduler": lambda at: callbacks.LearningRateScheduler(
        lambda epoch, rate: rate * 0.7
    ),
    "CSVLogger": lambda at: callbacks.CSVLogger(at / "log.csv"),
    "StopOnSmallChange": lambda at: callbacks.StopOnSmallChange("loss", 0.05, patience=2),
    "SwapEMAWeights": lambda at: callbacks.SwapEMAWeights(),
    "SwapEMAWeights at epochs": lambda at: callbacks.SwapEMAWeights(swap_on_epoch=True),
}  # fmt: skip


def resumed(folder: Path, name: str, save_freq: Any, crash: int | None) -> tuple[Any, ...]:
    """The results of a run that is stopped after a number of batches and restarted."""
    files = folder / "files"
    files.mkdir(parents=True)

    def run(*more: Any) -> tuple[Any, ...]:
        gpunn.utils.set_random_seed(5)
        model = gpunn.Sequential(
            [
                layers.Input((4,), name="x"),
                layers.Dense(5, "tanh", name="a"),
                layers.Dense(3, name="b"),
            ],
            name="network",
        )
        average = {"use_ema": True, "ema_momentum": 0.8} if name.startswith("Swap") else {}
        loss = gpunn.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(SGD(0.1, momentum=0.9, **average), loss)
        listener = LISTENERS[name](files)
        backup = callbacks.BackupAndRestore(folder / "backup", save_freq)
        history = model.fit(
            X, Y, batch_size=4, epochs=EPOCHS, verbose=0, callbacks=[backup, listener, *more],
            validation_data=(X, Y),
        )  # fmt: skip
        state = listener.get_state() if listener.listens("get_state") else {}
        state.pop("best_weights", None)  # they are visible in the model's weights
        return model.get_weights(), history.history, history.epoch, state

    if crash is not None:
        with pytest.raises(Crash):
            run(Crashing(crash))
    weights, *rest = run()
    left = {path.name: path.read_bytes() for path in files.iterdir()}
    return [w.tobytes() for w in weights], *rest, left


@pytest.mark.parametrize("name", LISTENERS)
@pytest.mark.parametrize(("save_freq", "crash"), [(1, 11), (5, 13), ("epoch", 2 * STEPS + 2)])
def test_callbacks_go_on_where_they_were(
    name: str, save_freq: Any, crash: int, tmp_path: Path
) -> None:
    through = resumed(tmp_path / "through", name, save_freq, None)
    assert resumed(tmp_path / "crashed", name, save_freq, crash) == through
    if name == "ModelCheckpoint every 4":
        assert set(through[-1]) == {"1-4", "2-2", "2-6", "3-4", "4-2", "4-6"}
    if name == "ModelCheckpoint every 9":
        assert set(through[-1]) == {"2-3", "3-6"}


@each_backend
@pytest.mark.parametrize("way", ["state", "file"])
@pytest.mark.parametrize("name", ["SGD", "Adam"])
def test_slots_of_frozen_layers_are_kept(
    name: str, way: str, backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Train, freeze, save, load and unfreeze: it continues as if it had not been saved."""
    options = {"use_ema": True, "gradient_accumulation_steps": 2, "learning_rate": 0.05}
    options |= {"momentum": 0.9} if name == "SGD" else {}

    def made() -> Any:
        gpunn.utils.set_random_seed(5)
        chain = [layers.Dense(5, "tanh", name="a"), layers.Dense(3, name="b")]
        model = gpunn.Sequential([layers.Input((4,)), *chain], backend=backend)
        loss = gpunn.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(registered.make("optimizer", name, options), loss)
        return model

    def steps(model: Any, *trainable: bool) -> None:
        for at, trains in enumerate(trainable):
            model.layers[0].trainable = trains
            model.train_on_batch(X[2 * at : 2 * at + 4], Y[2 * at : 2 * at + 4])

    before, after = (True, True, True, True, False, False, False), (False, True, True, True)
    model = made()
    steps(model, *before)
    if way == "state":
        other = made()
        other.layers[0].trainable = False
        other.set_weights(model.get_weights())
        other.set_training_state(*model.training_state())
    else:
        gpunn.use_backend(backend)
        model.save(tmp_path / "model")
        other = gpunn.saving.load_model(tmp_path / "model")
    steps(model, *after)
    steps(other, *after)
    for a, b in zip(model.get_weights(), other.get_weights(), strict=True):
        assert_array_equal(a, b)


# -- NaN


@each_backend
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("channels", [1, 3, 35])
def test_max_pooling_passes_on_what_is_not_a_number(
    channels: int, dtype: str, backend: str
) -> None:
    """Anywhere in a window, while infinities are numbers. Like NumPy's maximum."""
    b = get_backend(backend)
    for pixel, special in product(product(range(4), range(6)), (np.nan, np.inf, -np.inf)):
        x = np.arange(2 * 24 * channels, dtype=dtype).reshape(2, 4, 6, channels) - 40
        x[1, pixel[0], pixel[1], channels // 2] = special
        under = x.reshape(2, 2, 2, 3, 2, channels)
        out = b.zeros((2, 2, 3, channels), dtype)
        b.max_pooling(b.upload(x), Geometry.fit((4, 6), (2, 2), (2, 2), "valid"), out)
        assert_array_equal(b.read(out), under.max(axis=(2, 4)))


# -- accumulated products


@each_backend
@pytest.mark.parametrize("precision", [None, "tf32", "bfloat16"])
def test_a_product_is_added_in_any_precision(precision: str | None, backend: str) -> None:
    """2 x 3, numbers that every format represents exactly."""
    b = get_backend(backend)
    a, c = np.array([[1, 2, 3], [4, 5, 6]]), np.array([[1, -1], [2, 0], [3, 1]])
    precision = precision if precision in (b.precisions or ()) else None
    for transposed in ((False, False), (True, False), (False, True)):
        x, y = (
            np.ascontiguousarray(m.T if t else m) for m, t in zip((a, c), transposed, strict=True)
        )
        for accumulate, expected in ((False, a @ c), (True, a @ c + [[100, 200], [300, 400]])):
            out = b.upload(np.array([[100, 200], [300, 400]], "float32"))
            factors = b.upload(x.astype("float32")), b.upload(y.astype("float32"))
            b.matmul(*factors, out, *transposed, accumulate, precision)
            assert_array_equal(b.read(out), expected)
