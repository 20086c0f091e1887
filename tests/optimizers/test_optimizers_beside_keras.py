"""Test optimizers that PyTorch lacks, or has otherwise, beside Keras: on weights of many shapes,
with every common argument."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import registered
from numpy.testing import assert_allclose, assert_array_equal

import gpunn
from gpunn import layers

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # in Keras
SHAPES = [(5, 4), (4,), (3, 7), (2, 3, 2, 4), (6, 1), (1, 5), ()]
STEPS = 20
RATE = {"learning_rate": 0.05}
OWN: dict[str, dict[str, Any]] = {
    "Ftrl": {"l1_regularization_strength": 0.1, "l2_regularization_strength": 0.05, "beta": 0.3,
             "l2_shrinkage_regularization_strength": 0.02, "learning_rate_power": -0.6},
    "Adafactor": {"beta_2_decay": -0.6, "clip_threshold": 0.5, "epsilon_1": 1e-8,
                  "epsilon_2": 0.02, "relative_step": False},
    "Muon": {"nesterov": False, "ns_steps": 3, "rms_rate": None, "adam_lr_ratio": 0.5,
             "momentum": 0.8, "adam_weight_decay": 0.2},
    "ScheduleFreeAdamW": {"beta_1": 0.8, "beta_2": 0.9, "warmup_steps": 7},
}  # fmt: skip
COMMON: list[dict[str, Any]] = [
    {"weight_decay": 0.3}, {"clipnorm": 0.5}, {"global_clipnorm": 0.5}, {"clipvalue": 0.3},
    {"use_ema": True, "ema_momentum": 0.8, "ema_overwrite_frequency": 4},
    {"gradient_accumulation_steps": 3, "weight_decay": 0.2}, {"loss_scale_factor": 8.0},
    {"learning_rate": "falls"},
]  # fmt: skip


def made(library: Any, name: str, arguments: dict[str, Any]) -> Any:
    if arguments.get("learning_rate") == "falls":
        falling = library.optimizers.schedules.ExponentialDecay(0.05, 5, 0.7)
        arguments = {**arguments, "learning_rate": falling}
    return getattr(library.optimizers, name)(**arguments)


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("arguments", [{}, None, *COMMON], ids=registered.label)
def test_the_way_is_that_of_keras(
    keras_as_elsewhere: Any, name: str, arguments: dict | None
) -> None:
    keras = keras_as_elsewhere
    random = np.random.default_rng(0)
    given = {**RATE, **(OWN[name] if arguments is None else arguments)}
    start = [random.normal(size=s).astype("float32") for s in SHAPES]
    w, ours = [np.array(x) for x in start], made(gpunn, name, given)
    theirs, variables = made(keras, name, given), [keras.Variable(x) for x in start]
    for _ in range(STEPS):
        g = [random.normal(size=s).astype("float32") for s in SHAPES]
        theirs.apply([keras.ops.convert_to_tensor(x) for x in g], variables)
        ours.apply(g, w)
    assert int(theirs.iterations) == ours.iterations
    for v, x, first in zip(variables, w, start, strict=True):
        assert_allclose(x, keras.ops.convert_to_numpy(v), rtol=0, atol=1e-5)
        assert not np.allclose(x, first, rtol=1e-3)


@pytest.mark.parametrize("name", OWN)
def test_configurations_are_kerass(keras: Any, name: str) -> None:
    """The same arguments, with the same defaults."""
    ours, theirs = (getattr(k.optimizers, name)().get_config() for k in (gpunn, keras))
    theirs["learning_rate"] = round(theirs["learning_rate"], 8)  # of float32
    assert {**ours, "name": ""} == {**theirs, "name": ""}


X = np.random.default_rng(3).normal(size=(24, 6)).astype("float32")
Y = np.random.default_rng(4).integers(0, 3, 24)


def network(optimizer: Any, **options: Any) -> Any:
    gpunn.utils.set_random_seed(7)
    model = gpunn.Sequential(
        [layers.Input((6,)), layers.Dense(5, "tanh", name="hidden"),
         layers.Dense(3, "softmax", name="output")], **options,
    )  # fmt: skip
    model.compile(optimizer, "sparse_categorical_crossentropy")
    return model


def trained(model: Any) -> list[np.ndarray]:
    model.fit(X, Y, batch_size=8, epochs=5, verbose=0)
    return model.get_weights()


@pytest.mark.parametrize("name", ["Adafactor", "Muon", "ScheduleFreeAdamW"])
@pytest.mark.parametrize("arguments", [{}, {"gradient_accumulation_steps": 2, "weight_decay": 0.1}],
                         ids=registered.label)  # fmt: skip
def test_every_backend_goes_the_same_way(
    every_backend: str, name: str, arguments: dict[str, Any]
) -> None:
    def way(backend: str) -> list[np.ndarray]:
        return trained(network(made(gpunn, name, {**RATE, **arguments}), backend=backend))

    for a, b in zip(way(every_backend), way("numpy"), strict=True):
        assert_allclose(a, b, rtol=0, atol=2e-5)


def test_the_average_of_weights_begins_where_training_does(every_backend: str) -> None:
    """Weights that are set after `compile` are where it begins: with a rate of 0 all stay."""
    model = network(gpunn.optimizers.ScheduleFreeAdamW(0.0), backend=every_backend)
    model.set_weights([w + 1 for w in model.get_weights()])
    before = model.get_weights()
    for a, b in zip(trained(model), before, strict=True):
        assert_allclose(a, b, rtol=1e-6)


def test_what_muon_updates_as_adam() -> None:
    """Of two networks, one excludes the layer "hidden" by its path."""
    options = {**RATE, "adam_weight_decay": None, "weight_decay": None}
    ways = [
        trained(network(optimizer)) for optimizer in (
            gpunn.optimizers.Muon(**options, exclude_layers=["hid+en/", "output"]),
            gpunn.optimizers.Adam(0.05), gpunn.optimizers.Muon(**options),
        )
    ]  # fmt: skip
    for by_muon, by_adam in zip(*ways[:2], strict=True):
        assert_allclose(by_muon, by_adam, rtol=0, atol=1e-6)
    assert not np.allclose(ways[1][0], ways[2][0], atol=1e-3)
    table = gpunn.Variable(np.ones((3, 2)), name="my_embeddings")
    plain = gpunn.Variable(np.ones((3, 2)), name="matrix")
    optimizer = gpunn.optimizers.Muon(0.5, adam_weight_decay=None, weight_decay=None)
    optimizer.apply([np.ones((3, 2))] * 2, [table, plain])
    assert_allclose(table.numpy(), 0.5, atol=1e-5)  # Adam's first step
    assert not np.allclose(plain.numpy(), 0.5, atol=0.1)
    layer = layers.Dense(2, kernel_initializer="ones", name="hidden")
    layer.build((None, 3))
    optimizer = gpunn.optimizers.Muon(0.5, adam_weight_decay=None, exclude_layers=["^hidden/"])
    optimizer.apply([np.ones((3, 2))], [layer.kernel])  # by hand, a weight is known by its path too
    assert_allclose(layer.kernel.numpy(), 0.5, atol=1e-5)


def test_a_step_of_muon_has_singular_values_of_about_one() -> None:
    random = np.random.default_rng(1)
    for shape in ((9, 4), (4, 9), (6, 6)):
        w = np.zeros(shape)
        gpunn.optimizers.Muon(1.0, rms_rate=None).apply([random.normal(size=shape)], [w])
        values = np.linalg.svd(w, compute_uv=False)
        assert 0.5 < values.min() < values.max() < 1.3


def test_ftrl_forgets_the_first_weights() -> None:
    """They follow from the gradients alone, and an l1 term keeps them at exactly 0."""
    w = np.array([3.0, 0.0])
    optimizer = gpunn.optimizers.Ftrl(0.1, l1_regularization_strength=0.5)
    optimizer.apply([[0.0, 0.2]], [w])
    assert_array_equal(w, 0)
    optimizer.apply([[0.0, 0.9]], [w])
    assert w[0] == 0 > w[1]


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("Ftrl", {"learning_rate": 0.0}, "learning_rate must be above 0 for Ftrl"),
        ("Ftrl", {"learning_rate_power": 0.5}, "`learning_rate_power` needs to be negative"),
        ("Ftrl", {"l1_regularization_strength": -1.0},
         "`l1_regularization_strength` needs to be positive"),
        ("Adafactor", {"beta_2_decay": 0.5}, "beta_2_decay must be a number below 0"),
        ("Adafactor", {"clip_threshold": 0.0}, "clip_threshold must be"),
        ("Muon", {"exclude_layers": "dense"}, "exclude_layers must be a list of strings"),
        ("Muon", {"exclude_layers": ["("]}, "exclude_layers must be regular expressions"),
        ("Muon", {"ns_steps": 0}, "ns_steps must be an integer"),
        ("ScheduleFreeAdamW", {"beta_1": 0.0}, "beta_1 must be above 0"),
        ("ScheduleFreeAdamW", {"warmup_steps": -1}, "warmup_steps must be an integer"),
    ],
    ids=registered.label,
)
def test_arguments_out_of_range_are_refused(name: str, arguments: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        made(gpunn, name, arguments)
