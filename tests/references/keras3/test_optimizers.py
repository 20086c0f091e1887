"""Optimizer steps that Keras 3 asserts in its unit tests, applied to plain arrays in place."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

import gpunn

RAMP = np.arange(0.1, 1.1, 0.1, dtype="float32")
FAINT = np.full(10, 0.01, dtype="float32")


def array(*values: Any) -> np.ndarray:
    return np.array(values, dtype="float32")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("SGD", [0.5, -1.0, -0.5, 3.0]),
        ("Adam", [0.5, 1.5, 2.5, 3.5]),
        ("AdamW", [0.498, 1.496, 2.494, 3.492]),
        ("Adamax", [0.5, 1.5, 2.5, 3.5]),
        ("Nadam", [0.4686, 1.4686, 2.4686, 3.4686]),
        ("Lamb", [-0.3693, 0.6306, 1.6306, 2.6306]),
        ("Adagrad", [0.5233, 1.5007, 2.5005, 3.5061]),
        ("Adadelta", [0.9993, 1.9993, 2.9993, 3.9993]),
        ("RMSprop", [-0.5811, 0.4189, 1.4189, 2.4189]),
        ("Lion", [0.5, 1.5, 2.5, 3.5]),
    ],
)
def test_single_step(name: str, expected: list[float]) -> None:
    optimizer = getattr(gpunn.optimizers, name)(learning_rate=0.5)
    w = array(1.0, 2.0, 3.0, 4.0)
    optimizer.apply([array(1.0, 6.0, 7.0, 2.0)], [w])
    assert_allclose(w, expected, rtol=1e-4, atol=1e-4)
    assert int(optimizer.iterations) == 1
    assert float(optimizer.learning_rate) == 0.5


def test_iterations_count_steps() -> None:
    optimizer, w = gpunn.optimizers.Adam(learning_rate=1.0), array([1.0, 2.0], [3.0, 4.0])
    assert int(optimizer.iterations) == 0
    for count in (1, 2):
        optimizer.apply([np.ones_like(w)], [w])
        assert int(optimizer.iterations) == count


def sgd_rows() -> list[np.ndarray]:
    """Plain steps at rate .01: .9999 at first, then .01 of the ramp less each time."""
    return [0.9999 - 0.01 * step * RAMP for step in range(5)]


GOLDEN = {
    # Nesterov's look-ahead has no effect without momentum.
    "SGD": ({"nesterov": True}, sgd_rows(), 1e-6),
    "Adam": ({"amsgrad": True}, [[value] * 10 for value in (0.999, 0.9982, 0.9974, 0.9965, 0.9955)],
             2e-4),
    "AdamW": ({"learning_rate": 1.0, "weight_decay": 0.5, "epsilon": 2}, [
        [0.4998] * 10,
        [0.2486, 0.2475, 0.2463, 0.2451, 0.244, 0.2428, 0.2417, 0.2405, 0.2394, 0.2382],
        [0.1223, 0.1198, 0.1174, 0.1149, 0.1124, 0.11, 0.1075, 0.1051, 0.1027, 0.1003],
        [0.0586, 0.0549, 0.0512, 0.0475, 0.0439, 0.0402, 0.0366, 0.033, 0.0294, 0.0258],
        [0.0263, 0.0215, 0.0167, 0.012, 0.0073, 0.0026, -0.0021, -0.0067, -0.0113, -0.0159],
    ], 1e-4),
    "Adamax": ({"learning_rate": 0.2, "beta_1": 0.85, "beta_2": 0.95, "epsilon": 1e-6}, [
        [0.8] * 10,
        [0.6827, 0.6873, 0.6888, 0.6896, 0.6901, 0.6904, 0.6906, 0.6908, 0.6909, 0.691],
        [0.5333, 0.5407, 0.5431, 0.5444, 0.5451, 0.5456, 0.546, 0.5462, 0.5464, 0.5466],
        [0.368, 0.3773, 0.3804, 0.382, 0.3829, 0.3835, 0.384, 0.3843, 0.3846, 0.3848],
        [0.1933, 0.204, 0.2076, 0.2094, 0.2105, 0.2112, 0.2117, 0.2121, 0.2124, 0.2126],
    ], 1e-4),
    "Nadam": ({"learning_rate": 0.5, "beta_1": 0.5, "beta_2": 0.67, "epsilon": 1e-5}, [
        [0.4281] * 10,
        [-0.1738, -0.1731, -0.1726, -0.1723, -0.1721, -0.172, -0.1719, -0.1718, -0.1718, -0.1717],
        [-0.7115, -0.7103, -0.7096, -0.7092, -0.709, -0.7088, -0.7086, -0.7085, -0.7085, -0.7084],
        [-1.2335, -1.2322, -1.2313, -1.2309, -1.2306, -1.2304, -1.2302, -1.2301, -1.23, -1.2299],
        [-1.7492, -1.7478, -1.7469, -1.7464, -1.7461, -1.7459, -1.7457, -1.7456, -1.7455, -1.7454],
    ], 1e-4),
    "Lamb": ({}, [[value] * 10 for value in (0.999, 0.9982, 0.9974, 0.9965, 0.9955)], 1e-3),
    "Adagrad": (
        {"learning_rate": 0.2, "initial_accumulator_value": 0.3, "epsilon": 1e-6}, [
        [0.9963] * 10,
        [0.9604, 0.9278, 0.9003, 0.8784, 0.8615, 0.8487, 0.8388, 0.8313, 0.8255, 0.8209],
        [0.9251, 0.8629, 0.8137, 0.7768, 0.7497, 0.7298, 0.7151, 0.704, 0.6956, 0.6891],
        [0.8903, 0.8012, 0.7342, 0.6862, 0.6521, 0.6277, 0.6099, 0.5967, 0.5867, 0.579],
        [0.856, 0.7422, 0.6604, 0.6037, 0.5644, 0.5367, 0.5168, 0.5021, 0.491, 0.4825],
    ], 1e-4),
    "Adadelta": ({"learning_rate": 1.0, "rho": 0.8, "epsilon": 1e-6},
                 [[value] * 10 for value in (0.9978, 0.9947, 0.9915, 0.9882, 0.9849)], 1e-4),
    "RMSprop": ({"centered": True},
                [[value] * 10 for value in (0.9967, 0.9933, 0.9908, 0.9885, 0.9864)], 1e-4),
    "Lion": ({}, [[value] * 10 for value in (0.999, 0.998, 0.997, 0.996, 0.995)], 1e-6),
}  # fmt: skip
EVERY = [*GOLDEN]


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_rows(name: str) -> None:
    given: Any = GOLDEN[name]
    arguments, rows, tolerance = given
    optimizer, w = getattr(gpunn.optimizers, name)(**arguments), np.ones(10, dtype="float32")
    optimizer.apply([FAINT], [w])
    for row in rows:
        assert_allclose(w, row, rtol=0, atol=tolerance)
        optimizer.apply([RAMP], [w])


@pytest.mark.parametrize(
    ("nesterov", "path"), [(False, [-1.0, -2.9, -5.61]), (True, [-1.9, -4.61, -8.049])]
)
def test_momentum(nesterov: bool, path: list[float]) -> None:
    # By hand, with a gradient of 1: v is -1, -1.9, -2.71; w grows by v, or .9 v - 1 with Nesterov.
    optimizer = gpunn.optimizers.SGD(learning_rate=1.0, momentum=0.9, nesterov=nesterov)
    w = array(0.0)
    for value in path:
        optimizer.apply([array(1.0)], [w])
        assert_allclose(w, [value], rtol=1e-6)


@pytest.mark.parametrize("amsgrad", [False, True])
def test_adam_adds_epsilon_to_the_uncorrected_root(amsgrad: bool) -> None:
    # After gradients 1 and 0: m = .09, v = .000999; amsgrad keeps v = .001 of the first step.
    optimizer = gpunn.optimizers.Adam(learning_rate=1.0, epsilon=1e-2, amsgrad=amsgrad)
    w = array(0.0)
    optimizer.apply([array(1.0)], [w])
    first = -(0.001**0.5) / (0.001**0.5 + 1e-2)
    assert_allclose(w, [first], rtol=1e-4)
    optimizer.apply([array(0.0)], [w])
    rate = (1 - 0.999**2) ** 0.5 / (1 - 0.9**2)
    v = 0.001 if amsgrad else 0.000999
    assert_allclose(w, [first - rate * 0.09 / (v**0.5 + 1e-2)], rtol=1e-4)


@pytest.mark.parametrize("name", EVERY)
def test_weight_decay_takes_a_part_of_the_weight(name: str) -> None:
    optimizer = getattr(gpunn.optimizers, name)(learning_rate=1.0, weight_decay=0.004)
    w = array(2.0)
    for _ in range(3):
        optimizer.apply([array(0.0)], [w])
    assert_allclose(w, [1.9760959], rtol=1e-6)


@pytest.mark.parametrize(("name", "moved"), [("SGD", 0.25), ("Adam", 0.5)])
def test_weight_decay_leaves_the_gradient_alone(name: str, moved: float) -> None:
    optimizer = getattr(gpunn.optimizers, name)(learning_rate=0.5, weight_decay=0.1)
    w = array(2.0)
    optimizer.apply([array(0.5)], [w])
    assert_allclose(w, [2.0 - 0.5 * 0.1 * 2.0 - moved], rtol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "gradients", "expected"),
    [
        ({"clipnorm": 1.0}, [[100.0, 100.0]], [[0.5**0.5, 0.5**0.5]]),
        ({"clipvalue": 1.0}, [[100.0, 100.0]], [[1.0, 1.0]]),
        ({"clipvalue": 1.0}, [[-100.0, 0.5]], [[-1.0, 0.5]]),
        ({"global_clipnorm": 1.0}, [[50.0, 100.0]], [[5**-0.5, 2 * 5**-0.5]]),
        # Each array separately, or all together: (3, 4) has norm 5, with (0, 12) norm 13.
        ({"clipnorm": 1.0}, [[3.0, 4.0], [0.0, 12.0]], [[0.6, 0.8], [0.0, 1.0]]),
        ({"global_clipnorm": 6.5}, [[3.0, 4.0], [0.0, 12.0]], [[1.5, 2.0], [0.0, 6.0]]),
        ({"clipnorm": 20.0}, [[3.0, 4.0]], [[3.0, 4.0]]),
        ({"global_clipnorm": 20.0}, [[3.0, 4.0]], [[3.0, 4.0]]),
        ({"clipnorm": 1.0}, [[0.0, 0.0]], [[0.0, 0.0]]),
        ({"global_clipnorm": 1.0}, [[0.0, 0.0], [3.0, 4.0]], [[0.0, 0.0], [0.6, 0.8]]),
    ],
)
def test_clipping(
    arguments: dict[str, float], gradients: list[list[float]], expected: list[list[float]]
) -> None:
    optimizer = gpunn.optimizers.SGD(learning_rate=1.0, **arguments)
    w = [np.zeros(2, dtype="float32") for _ in gradients]
    optimizer.apply([array(*gradient) for gradient in gradients], w)
    assert_allclose(np.negative(w), expected, rtol=1e-6)
    config = optimizer.get_config()
    assert {key: config[key] for key in arguments} == arguments


def test_adam_clips_before_it_averages() -> None:
    # 100 clipped to 1 counts as much as the 1 that follows; unclipped, it would dominate.
    optimizer = gpunn.optimizers.Adam(learning_rate=1.0, clipvalue=1.0)
    w = array(0.0)
    for _ in range(2):
        optimizer.apply([array(100.0)], [w])
        optimizer.apply([array(1.0)], [w])
    assert_allclose(w, [-4.0], rtol=1e-4)


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("other", ["clipvalue", "global_clipnorm"])
def test_two_ways_of_clipping_are_refused(name: str, other: str) -> None:
    with pytest.raises(ValueError, match="clipnorm"):
        getattr(gpunn.optimizers, name)(learning_rate=1.0, clipnorm=0.1, **{other: 0.1})


@pytest.mark.parametrize("momentum", [-1.0, 2.0])
def test_momentum_out_of_range_is_refused(momentum: float) -> None:
    with pytest.raises(ValueError, match="momentum"):
        gpunn.optimizers.SGD(momentum=momentum)


@pytest.mark.parametrize(
    ("name", "defaults"),
    [
        ("SGD", {"learning_rate": 0.01, "momentum": 0.0, "nesterov": False}),
        ("Adam", {"learning_rate": 0.001, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7,
                  "amsgrad": False}),
        ("Adamax", {"learning_rate": 0.001, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7}),
        ("Nadam", {"learning_rate": 0.001, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7}),
        ("Lamb", {"learning_rate": 0.001, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7}),
        ("Adagrad", {"learning_rate": 0.001, "initial_accumulator_value": 0.1, "epsilon": 1e-7}),
        ("Adadelta", {"learning_rate": 0.001, "rho": 0.95, "epsilon": 1e-7}),
        ("RMSprop", {"learning_rate": 0.001, "rho": 0.9, "momentum": 0.0, "epsilon": 1e-7,
                     "centered": False}),
        ("Lion", {"learning_rate": 0.001, "beta_1": 0.9, "beta_2": 0.99}),
    ],
)  # fmt: skip
def test_defaults_and_their_order(name: str, defaults: dict[str, Any]) -> None:
    cls = getattr(gpunn.optimizers, name)
    common = {"weight_decay": None, "clipnorm": None, "clipvalue": None, "global_clipnorm": None}
    config = cls().get_config()
    assert {key: config[key] for key in common} == common
    assert {key: config[key] for key in defaults} == pytest.approx(defaults, rel=1e-6)
    given = {key: value / 2 if isinstance(value, float) else True
             for key, value in defaults.items()}  # fmt: skip
    config = cls(*given.values(), 0.004).get_config()
    assert {key: config[key] for key in given} == pytest.approx(given, rel=1e-6)
    assert config["weight_decay"] == 0.004
    assert cls.from_config(config).get_config() == config


def test_defaults_of_adamw_and_their_order() -> None:
    config = gpunn.optimizers.AdamW(0.002, 0.005, 0.8).get_config()
    assert list(config)[:6] == [
        "learning_rate", "weight_decay", "beta_1", "beta_2", "epsilon", "amsgrad",
    ]  # fmt: skip
    assert list(config.values())[:6] == [0.002, 0.005, 0.8, 0.999, 1e-7, False]
    assert gpunn.optimizers.AdamW().weight_decay == 0.004
    with pytest.raises(ValueError, match="weight_decay"):
        gpunn.optimizers.AdamW(weight_decay=None)


@pytest.mark.parametrize("beta_1", [-0.1, 0.0, 1.1])
def test_lion_wants_a_mean(beta_1: float) -> None:
    with pytest.raises(ValueError, match="beta_1"):
        gpunn.optimizers.Lion(beta_1=beta_1)


def test_static_loss_scaling() -> None:
    optimizer, w = gpunn.optimizers.SGD(1.0, loss_scale_factor=1024.0), array([1.0, 2.0])
    optimizer.apply([array([1024.0, 2048.0])], [w])
    assert_allclose(w, [[0.0, 0.0]])


def test_an_average_of_the_weights_that_takes_their_place() -> None:
    optimizer = gpunn.optimizers.SGD(
        learning_rate=1.0, use_ema=True, ema_momentum=0.9, ema_overwrite_frequency=3
    )
    w = array([3.0, 4.0], [5.0, 6.0])
    for moved in (1.0, 2.0, 1.29):  # the average: 1.0, 1.1 and, of 3.0 by then, 1.29 less
        optimizer.apply([np.ones_like(w)], [w])
        assert_allclose(w, np.array([[3.0, 4.0], [5.0, 6.0]]) - moved, rtol=1e-6)


def test_fit_ends_with_the_average() -> None:
    optimizer = gpunn.optimizers.SGD(learning_rate=0.1, use_ema=True, ema_momentum=0.9)
    model = gpunn.Sequential(
        [gpunn.layers.Dense(2, kernel_initializer="ones", use_bias=False)], backend="numpy"
    )
    model.compile(optimizer=optimizer, loss="mse")
    model.fit(np.ones((1, 1), "float32"), np.zeros((1, 2), "float32"), batch_size=1, epochs=2,
              verbose=0)  # fmt: skip
    assert_allclose(model.get_weights()[0], [[0.891, 0.891]], atol=1e-5)


def test_gradient_accumulation() -> None:
    optimizer = gpunn.optimizers.SGD(learning_rate=1.0, gradient_accumulation_steps=3)
    w = array([1.0, 2.0], [3.0, 4.0])
    for moved, iterations in ((0.0, 0), (0.0, 0), (1.0, 1), (1.0, 1)):
        optimizer.apply([np.ones_like(w)], [w])
        assert_allclose(w, np.array([[1.0, 2.0], [3.0, 4.0]]) - moved)
        assert int(optimizer.iterations) == iterations


@pytest.mark.parametrize("name", EVERY)
def test_gradient_accumulation_with_weight_decay(name: str) -> None:
    at_once, in_parts = (
        gpunn.optimizers.get({"class_name": name, "config": {"weight_decay": 0.05, **more}})
        for more in ({}, {"gradient_accumulation_steps": 3})
    )
    w, v = array([0.9], [0.5]), array([0.9], [0.5])
    random = np.random.default_rng(0)
    for _ in range(8):
        parts = random.random((3, 2, 1)).astype("float32")
        at_once.apply([parts.mean(axis=0)], [w])
        for part in parts:
            in_parts.apply([part], [v])
    assert_allclose(w, v, rtol=1e-5, atol=1e-6)


def test_get() -> None:
    assert isinstance(gpunn.optimizers.get("sgd"), gpunn.optimizers.SGD)
    assert isinstance(gpunn.optimizers.get("adam"), gpunn.optimizers.Adam)
    for name in EVERY:
        assert type(gpunn.optimizers.get(name.lower())).__name__ == name
    with pytest.raises(ValueError, match="typo"):
        gpunn.optimizers.get("typo")


def test_names() -> None:
    assert gpunn.optimizers.Adam().name.startswith("adam")
    assert gpunn.optimizers.SGD().name.startswith("sgd")
    assert gpunn.optimizers.Adam(name="mine").name == "mine"
