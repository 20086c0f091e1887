"""Test every backward pass that gpunn registers against finite differences of its forward pass."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import registered
from targets import predictions_for, targets_for

import gpunn
from gpunn import layers, losses
from gpunn.backends import get_backend
from gpunn.common import registry
from gpunn.core.plan import INPUT, Node, Plan
from gpunn.core.storage import ParameterStorage
from gpunn.core.workspace import Pool, Workspace
from gpunn.layers.applying import infer_shapes
from gpunn.layers.preprocessing.on_host import HostLayer
from gpunn.testing import check_gradients

# Names that are not checked, and the reason.
NO_LAYER_GRADIENT = {
    "InputLayer": "a view of the input that a model never runs",
    "Embedding": "of integers: see test_embedding.py",
    "ReversibleEmbedding": "likewise",
    "HashedCrossing": "likewise: see test_crossing.py",
    "ActivityRegularization": "its penalty is part of the loss: see test_small_layers.py",
    "SpectralNormalization": "of the kernel after the step: see test_spectral_normalization.py",
    **dict.fromkeys(registered.CELLS, "runs in the layer RNN"),
}

BACKENDS = ["numpy", "compiled", "emulated"]  # formulas, and the kernels that a GPU runs
SHAPES = {
    "one row": (1, 6),
    "one number": (1, 1),
    "ragged": (7, 5),
    "three axes": (2, 3, 4),
    "four axes": (2, 3, 2, 5),
}
IMAGE_SHAPES = {
    "one row": (1, 4, 3, 2),
    "one number": (1, 2, 2, 1),
    "ragged": (7, 3, 5, 2),
    "three axes": (2, 3, 4, 1),
    "four axes": (2, 3, 3, 5),
}

STEP_SHAPES = {
    "one row": (1, 4, 2),
    "one number": (1, 1, 1),
    "ragged": (7, 3, 5),
    "three axes": (2, 3, 4),
    "four axes": (2, 2, 3),
}


def test_every_layer_is_checked_or_says_why_not() -> None:
    checked = {name for name, _ in registered.cases("layer", *NO_LAYER_GRADIENT)}
    assert checked | set(NO_LAYER_GRADIENT) == set(registered.names("layer"))


OTHERS = [shape for shape in SHAPES if shape != "ragged"]


def in_turn(number: int, backend: str, shape: str) -> bool:
    """Whether `make test` runs it: one shape by each backend, and two more, which differ from case
    to case, by the compiled kernels. `make test-more` runs the rest."""
    return shape == "ragged" or (backend == "compiled" and OTHERS.index(shape) % 2 == number % 2)


def test_integers_have_no_gradients() -> None:
    with pytest.raises(ValueError, match="Discretization gives int32, which has no gradients"):
        check_gradients(layers.Discretization([0.0, 1.0]), (3, 4))


CASES = [
    case for case in registered.cases("layer", *NO_LAYER_GRADIENT)
    if case[0] != "Discretization" or "output_mode" in case[1]  # whose codes are integers
]  # fmt: skip


@pytest.mark.in_turn(2)
@pytest.mark.parametrize(
    ("name", "arguments", "backend", "shape"),
    [
        pytest.param(*case, *pair, marks=[] if in_turn(number, *pair) else [pytest.mark.more])
        for number, case in enumerate(CASES)
        for pair in itertools.product(BACKENDS, SHAPES)
    ],
    ids=registered.label,
)
def test_layers(name: str, arguments: dict, shape: str, backend: str) -> None:
    gpunn.utils.set_random_seed(0)  # with this seed, no relu's input is near 0
    layer = registered.alone(registered.make("layer", name, arguments))
    images, steps = registered.takes_images(layer), registered.takes_steps(layer)
    size = (IMAGE_SHAPES if images else STEP_SHAPES if steps else SHAPES)[shape]
    size = registered.images_for(layer, size) if images else registered.fitting(layer, size)
    check_gradients(layer, [size] * 2 if layer.takes_list else size, backend=backend)


CLASSES = registry.entries("layer")


def changed(name: str, arguments: dict, backend: str, ways: tuple[str, ...]) -> Any:
    """Return how a step changes a layer whose output goes into the named layer, or past it."""
    gpunn.utils.set_random_seed(0)
    layer = registered.alone(registered.make("layer", name, arguments))
    images, steps = registered.takes_images(layer), registered.takes_steps(layer)
    shape = (IMAGE_SHAPES if images else STEP_SHAPES if steps else SHAPES)["three axes"]
    shape = registered.images_for(layer, shape) if images else registered.fitting(layer, shape)
    x = gpunn.Input(shape[1:])
    before = layers.Dense(shape[-1], use_bias=False, kernel_initializer="orthogonal")
    h = before(x)
    made = {"into": lambda: layer([h, h] if layer.takes_list else h),
            "past": lambda: layers.Rescaling(2.0)(h)}  # fmt: skip
    model = gpunn.Model(x, [made[way]() for way in ways], backend=backend)
    model.compile("sgd", ["mse"] * len(ways))
    rows = np.random.default_rng(1).normal(size=shape) + 0.5
    start = before.kernel.numpy().copy()
    model.train_on_batch(rows, [np.ones((len(rows), *t.shape[1:])) for t in model.outputs])
    return before.kernel.numpy() - start


@pytest.mark.parametrize(
    ("name", "arguments"),
    [(name, registered.examples("layer", name)[0]) for name in registered.names("layer")
     if name not in NO_LAYER_GRADIENT and not issubclass(CLASSES[name], HostLayer)
     and not name.startswith(("Random", "MixUp", "CutMix"))],  # they draw by their place
    ids=registered.label,
)  # fmt: skip
def test_a_gradient_is_the_sum_of_the_ways_into_a_layer_and_past_it(
    rotation: int | None, name: str, arguments: dict
) -> None:
    case = name, arguments, BACKENDS[(rotation or 0) % 3]
    one, other = (changed(*case, (way,)) for way in ("into", "past"))
    for ways in (("into", "past"), ("past", "into")):
        np.testing.assert_allclose(changed(*case, ways), one + other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("activation", [None, "tanh", "relu", "softmax"])
def test_a_layer_applied_twice_adds_up_its_gradients(activation: Any) -> None:
    shared = layers.Dense(4, activation=activation, bias_initializer="normal")
    check_gradients([shared, layers.Activation("sigmoid"), shared, layers.Dense(2)], (5, 4))
    thrice = layers.Dense(3, activation="tanh")
    check_gradients([thrice, thrice, thrice], (2, 3))


def test_chains_of_views_and_random_layers() -> None:
    chain = [
        layers.Dense(4, activation="tanh"),
        layers.Activation("linear"),
        layers.Flatten(),
        layers.Dropout(0.4),
        layers.Flatten(),
        layers.Rescaling(0.5, 1.0),
        layers.Activation("relu"),
        layers.Dense(3, activation="softmax"),
        layers.Dropout(0.0),
    ]
    check_gradients(chain, (3, 2, 5))


def bound(chain: list, shape: tuple[int, ...], read_by: list) -> tuple[ParameterStorage, Workspace]:
    """A float64 training workspace of layers, each reading the node with the given number."""
    shapes, nodes = {INPUT: shape[1:]}, []
    for i, (layer, source) in enumerate(zip(chain, read_by, strict=True)):
        sources = source if isinstance(source, tuple) else (source,)
        shapes[i] = infer_shapes(layer, [shapes[n] for n in sources])[0]
        nodes.append(Node(layer, sources, shapes[i]))
    backend = get_backend("numpy")
    storage = ParameterStorage(
        backend, "float64", {id(p): p for layer in chain for p in layer.parameters}.values()
    )
    plan = Plan(nodes, [shape[1:]])
    workspace = Workspace(plan, backend, "float64", shape[0], Pool(backend), training=True)
    workspace.xs[0][...] = np.random.default_rng(3).standard_normal(shape)
    return storage, workspace


def test_the_first_layer_computes_no_input_gradient() -> None:
    _, workspace = bound([layers.Dense(3), layers.Dense(2)], (4, 5), [INPUT, 0])
    assert workspace.calls[0].dx is None
    assert workspace.calls[1].dx is not None


def test_nothing_before_the_first_trained_layer_runs_backward() -> None:
    frozen, scaled = layers.Dense(3, trainable=False), layers.Activation("tanh")
    chain = [frozen, scaled, layers.Dense(2)]
    _, workspace = bound(chain, (4, 5), [INPUT, 0, 1])
    assert [call.dx is None for call in workspace.calls] == [True, True, True]
    assert workspace.calls[0].dy is None and workspace.calls[1].dy is None


def test_a_frozen_layer_passes_its_gradient_on_and_keeps_none() -> None:
    frozen = layers.Dense(4, activation="tanh", trainable=False)
    check_gradients([layers.Dense(5), frozen, layers.Dense(2)], (3, 6))
    chain = [layers.Dense(5), layers.Dense(4, trainable=False), layers.Dense(2)]
    storage, workspace = bound(chain, (3, 6), [INPUT, 0, 1])
    storage.gradients[...] = 7.0
    workspace.forward()
    workspace.dy[...] = 1.0
    workspace.backward()
    assert (chain[1].kernel.gradient == 7.0).all() and (chain[1].bias.gradient == 7.0).all()
    assert not (chain[0].kernel.gradient == 7.0).any()


def test_a_node_read_by_two_layers_gets_the_sum_of_their_gradients() -> None:
    first, left, right, last = (
        layers.Dense(4, activation="tanh"),
        layers.Activation("sigmoid"),
        layers.Dense(4, activation="relu"),
        layers.Add(),
    )
    storage, workspace = bound([first, left, right, last], (3, 5), [INPUT, 0, 0, (1, 2)])
    assert [call.accumulate_dx for call in workspace.calls[1:3]] == [True, False]
    weights = np.random.default_rng(5).standard_normal((3, 4))
    workspace.forward()
    storage.gradients[...] = np.nan
    workspace.dy[...] = weights
    workspace.backward()
    found, direction = first.kernel.gradient.copy(), np.ones_like(first.kernel.gradient)
    values = []
    for step in (1e-5, -2e-5):
        first.kernel.value[...] += step * direction
        workspace.forward()
        values.append(float(np.sum(weights * workspace.y)))
    assert np.sum(found * direction) == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-7)


# -- activations

AWKWARD = np.array([[-700.0, -40.0, -1.1, -1e-3, 1e-3, 0.3, 0.6, 1.1, 40.0, 700.0]])


@pytest.mark.in_turn(2)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("name", "arguments"), registered.cases("activation"), ids=registered.label
)
def test_activations(name: str, arguments: dict, backend: str) -> None:
    activation = registered.make("activation", name, arguments)
    for shape in SHAPES.values():
        check_gradients(activation, shape, backend=backend)
    awkward = AWKWARD / 10 if name == "Exponential" else AWKWARD  # exp(700) squared overflows
    check_gradients(activation, awkward, backend=backend)
    check_gradients(activation, awkward.T.copy(), backend=backend)
    equal = np.full((2, 3), 5.0)
    check_gradients(activation, equal, backend=backend)


def test_relu_at_its_kink_takes_the_left_slope() -> None:
    backend = get_backend("numpy")
    for activation, expected in ((gpunn.activations.relu, 0.0), (registered_relu(0.3), 0.3)):
        x, out = np.zeros((1, 1)), np.empty((1, 1))
        activation.backward(backend, x, np.ones((1, 1)), out)
        assert out.item() == expected


def registered_relu(negative_slope: float) -> Any:
    return registered.make("activation", "Relu", {"negative_slope": negative_slope})


# -- losses


@pytest.mark.in_turn(2)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("name", "arguments"), registered.cases("loss"), ids=registered.label)
def test_losses(name: str, arguments: dict, shape: str, backend: str) -> None:
    loss = registered.make("loss", name, arguments)
    random = np.random.default_rng(1)
    size = SHAPES[shape]
    if loss.fuses == "Softmax":  # raises an error if there is only one class
        size = (*size[:-1], max(2, size[-1]))
    predictions = predictions_for(loss, size, random)
    check_gradients(loss, predictions, targets_for(loss, predictions, random), backend=backend)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("name", "arguments"),
    [(n, a) for n, a in registered.cases("loss") if a.get("from_logits")],
    ids=registered.label,
)
def test_losses_on_large_logits(name: str, arguments: dict, backend: str) -> None:
    loss = registered.make("loss", name, arguments)
    logits = np.array([[1e4, -1e4, 0.0], [-700.0, 700.0, 1.0], [5.0, 5.0, 5.0], [0.5, -40, 40]])
    for column in range(3):
        labels = np.full(4, column)
        truth = labels if loss.sparse else np.eye(3)[labels]
        check_gradients(loss, logits, truth, backend=backend)


def test_targets_need_not_add_up_to_one() -> None:
    """As with several correct classes, or a target of reduced weight."""
    random = np.random.default_rng(9)
    for name, arguments in registered.cases("loss"):
        loss = registered.make("loss", name, arguments)
        if loss.fuses and not loss.sparse:
            predictions = predictions_for(loss, (6, 4), random)
            check_gradients(loss, predictions, random.uniform(size=(6, 4)))


def test_an_impossible_class_costs_nothing_unless_it_is_the_target() -> None:
    loss = losses.CategoricalCrossentropy(from_logits=True)
    masked = np.array([[0.5, -np.inf, 1.5]])
    without = loss([[1.0, 0.0]], [[0.5, 1.5]])
    assert loss([[1.0, 0.0, 0.0]], masked) == pytest.approx(without)
    sparse = losses.SparseCategoricalCrossentropy(from_logits=True)
    assert sparse([0], masked) == pytest.approx(without)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        (n, a)
        for n, a in registered.cases("loss")
        if "Crossentropy" in n and not a.get("from_logits")
    ],
    ids=registered.label,
)
def test_losses_on_probabilities_at_the_edge(name: str, arguments: dict, backend: str) -> None:
    """The gradient is 0 where clipping makes the loss constant, and large near that region."""
    loss = registered.make("loss", name, arguments)
    edge = np.array([[0.0, 1.0], [1.0, 0.0], [1e-12, 1.0 - 1e-12], [1e-3, 1.0 - 1e-3]])
    for column in range(2):
        labels = np.full(4, column)
        truth = labels if loss.sparse else np.eye(2)[labels]
        check_gradients(loss, edge, truth, step=1e-9, tolerance=1e-5, backend=backend)


# -- whole models: the fused loss, weights, reductions, frozen layers, random layers

ENDINGS = {
    "softmax, sparse": ("softmax", losses.SparseCategoricalCrossentropy()),
    "softmax, dense, smoothed": (
        "softmax",
        losses.CategoricalCrossentropy(label_smoothing=0.1),
    ),
    "logits, sparse, summed": (
        None,
        losses.SparseCategoricalCrossentropy(from_logits=True, reduction="sum"),
    ),
    "sigmoid, binary": ("sigmoid", losses.BinaryCrossentropy()),
    "logits, binary": (None, losses.BinaryCrossentropy(from_logits=True)),
    "tanh, half squares": ("tanh", losses.HalfSquaredError()),
    "relu, squares": ("relu", losses.MeanSquaredError()),
    "softmax, squares": ("softmax", losses.MeanSquaredError()),
}


@pytest.mark.in_turn(2)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("rows", [1, 6])
@pytest.mark.parametrize("ending", ENDINGS)
def test_models(ending: str, rows: int, weighted: bool, backend: str) -> None:
    gpunn.utils.set_random_seed(8)
    activation, loss = ENDINGS[ending]
    model = gpunn.Sequential(
        [
            layers.Input((2, 3)),
            layers.Rescaling(0.5, 0.25),
            layers.Flatten(),
            layers.Dense(5, activation="tanh", bias_initializer="normal"),
            layers.Dropout(0.3),
            layers.Dense(4, activation="sigmoid", name="frozen", trainable=False),
            layers.Dense(3, activation=activation),
        ],
        dtype="float64",
        backend=backend,
    )
    model.compile(optimizer="sgd", loss=loss)
    fused = "," in ending and "squares" not in ending and bool(activation)
    assert model._trainer.terms[0].fused == fused
    random = np.random.default_rng(2)
    x = random.standard_normal((rows, 2, 3))
    truth = targets_for(loss, np.empty((rows, 3)), random)
    weights = random.uniform(0.1, 3.0, rows) if weighted else None
    check_gradients(model, x, truth, sample_weight=weights)


def test_a_model_with_rows_within_its_samples() -> None:
    model = gpunn.Sequential(
        [layers.Input((4, 3)), layers.Dense(5, activation="softmax")], dtype="float64"
    )
    model.compile(optimizer="sgd", loss="sparse_categorical_crossentropy")
    labels = np.random.default_rng(0).integers(0, 5, (6, 4))
    check_gradients(model, (6, 4, 3), labels, sample_weight=np.arange(6.0))


# -- the check detects errors


class _Wrong(layers.Layer):
    """Multiplies by a kernel; its constructor chooses what the backward pass does wrong."""

    def __init__(self, fault: str) -> None:
        super().__init__()
        self.fault = fault

    def build(self, input_shape: Any) -> None:
        self.scale = self.parameter(input_shape[1:], "ones", "scale")

    def forward(self, call: Any) -> None:
        np.multiply(call.x, self.scale.value, out=call.y)
        if self.fault == "half an output":
            call.y[: len(call.y) // 2] = np.nan

    def backward(self, call: Any) -> None:
        dx, scale = call.dy * self.scale.value, (call.dy * call.x).sum(axis=0)
        if self.fault == "x":
            dx.flat[0] += 0.01
        if self.fault == "scale":
            scale *= 1.001
        if self.fault != "nothing written":
            accumulates = call.accumulate_gradients and self.fault != "accumulate_gradients"
            self.scale.gradient[...] = scale + (self.scale.gradient if accumulates else 0)
        call.dx[...] = dx + (call.dx if call.accumulate_dx and self.fault != "accumulate_dx" else 0)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("x", "_Wrong: the gradient of x is wrong"),
        ("scale", "_Wrong: the gradient of scale is wrong"),
        ("nothing written", "_Wrong: backward left part of the gradient of scale unwritten"),
        ("half an output", "_Wrong: forward left part of its output unwritten"),
        ("accumulate_gradients", r"gradient of scale with call\.accumulate_gradients"),
        ("accumulate_dx", r"gradient of x with call\.accumulate_dx"),
    ],
)
def test_a_wrong_layer_is_found(fault: str, message: str) -> None:
    check_gradients(_Wrong("none"), (4, 3))
    with pytest.raises(AssertionError, match=message):
        check_gradients(_Wrong(fault), (4, 3))


class _WrongLoss(losses.Loss):
    def forward(self, backend: Any, y_true: Any, y_pred: Any, values: Any) -> None:
        values[...] = np.sum((y_pred - y_true) ** 2, axis=-1)

    def backward(self, backend: Any, y_true: Any, y_pred: Any, gradient: Any) -> None:
        gradient[...] = y_pred - y_true


class _WrongActivation(gpunn.activations.Activation):
    def forward(self, backend: Any, x: Any, out: Any) -> None:
        np.square(x, out=out)

    def backward(self, backend: Any, saved: Any, dy: Any, out: Any) -> None:
        np.multiply(dy, saved, out=out)  # the output is saved, not the input


def test_a_wrong_loss_and_a_wrong_activation_are_found() -> None:
    with pytest.raises(AssertionError, match="_WrongLoss: the gradient of y_pred is wrong"):
        check_gradients(_WrongLoss(), (4, 3), np.zeros((4, 3)))
    with pytest.raises(AssertionError, match="_WrongActivation: the gradient of x is wrong"):
        check_gradients(_WrongActivation(), (4, 3))


def test_what_cannot_be_checked_is_refused() -> None:
    built = layers.Dense(2)
    built([[1.0]])
    with pytest.raises(ValueError, match="is built already"):
        check_gradients(built, (2, 1))
    model = gpunn.Sequential([layers.Input((1,)), layers.Dense(2)])
    model.compile(optimizer="sgd", loss="mse")
    with pytest.raises(ValueError, match="dtype='float64'"):
        check_gradients(model, (2, 1), np.zeros((2, 2)))
    with pytest.raises(ValueError, match="needs y_true"):
        check_gradients(losses.MeanSquaredError(), (2, 1))
