"""The same results as PyTorch: outputs, gradients and fifty optimizer steps.

PyTorch's counterparts are here and in `pytorch_layers.py`, by the names that gpunn registers. Parts
without one are checked by differences in `test_gradients.py`, and optimizers by their path to a
minimum in `test_optimizers.py`. Arrays are compared by ||a - b|| / ||b||, because single elements
differ if sums run in another order.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import registered
from pytorch_layers import ACTIVATIONS, LAYERS, against_pytorch
from targets import predictions_for, targets_for

import gpunn
from gpunn import layers, losses
from gpunn.backends import get_backend

if sys.version_info[:2] == (3, 11):
    import torch
    from torch.nn import functional as F

pytestmark = against_pytorch


def assert_close(
    ours: Any, theirs: Any, tolerance: float, what: str = "", least: float = 0.0
) -> None:
    """Assert that ||ours - theirs|| / ||theirs|| is at most ``tolerance``.

    ``least`` replaces ||theirs|| if that is smaller.
    """
    a = np.asarray(ours, np.float64)
    b = theirs.detach().numpy() if hasattr(theirs, "detach") else np.asarray(theirs)
    assert a.shape == b.shape, what
    size = max(float(np.linalg.norm(b)), least)
    error = np.linalg.norm(a - b) / size if size else np.linalg.norm(a)
    assert error <= tolerance, f"{what}: relative distance {error:.3g}, {tolerance:.3g} allowed"


TOLERANCE = {"float32": 2e-6, "float64": 1e-13}

# -- activations and layers


def compared(kind: str, counterparts: dict[str, Any]) -> Any:
    """Parametrize with each example of the parts in this table."""
    assert counterparts.keys() <= set(registered.names(kind))
    found = [case for case in registered.cases(kind) if case[0] in counterparts]
    return pytest.mark.parametrize(("name", "arguments"), found, ids=registered.label)


@pytest.mark.parametrize("dtype", TOLERANCE)
@compared("activation", ACTIVATIONS)
def test_activations(name: str, arguments: dict, dtype: str) -> None:
    random = np.random.default_rng(0)
    backend = get_backend("numpy")
    activation = registered.make("activation", name, arguments)
    for shape in ((1, 1), (7, 5), (64, 129)):
        x, dy = (3 * random.standard_normal((2, *shape))).astype(dtype)
        y, dx = np.empty_like(x), np.empty_like(x)
        activation.forward(backend, x, y)
        activation.backward(backend, x if activation.saves == "input" else y, dy, dx)
        x_torch = torch.tensor(x, requires_grad=True)
        y_torch = ACTIVATIONS[name](x_torch, arguments)
        y_torch.backward(torch.tensor(dy))
        assert_close(y, y_torch, TOLERANCE[dtype], "y")
        # A softmax of one class is constant: its gradient is only rounding error.
        if shape[-1] > 1 or not activation.rowwise:
            assert_close(dx, x_torch.grad, TOLERANCE[dtype], "dx")


@pytest.mark.in_turn(2)
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("shape", [(1, 3), (8, 20), (2, 3, 5)], ids=str)
@compared("layer", LAYERS)
def test_layers(name: str, arguments: dict, shape: tuple[int, ...], dtype: str) -> None:
    """Each layer is between two dense layers, with a loss, so its input gradient counts too."""
    gpunn.utils.set_random_seed(4)
    random = np.random.default_rng(4)
    layer = registered.make("layer", name, arguments)
    if registered.takes_images(layer):
        shape = {(1, 3): (1, 3, 2, 4), (8, 20): (8, 5, 4, 3)}.get(shape, (2, 2, 3, 3))
        shape = registered.images_for(layer, shape)
    x = random.standard_normal(shape).astype(dtype)
    if layer.takes_list:
        inputs = layers.Input((*shape[1:-1], 6))
        layer = gpunn.Model(inputs, layer([inputs, layers.Activation("tanh")(inputs)]))
    before, after = layers.Dense(6), layers.Dense(2)
    model = gpunn.Sequential([layers.Input(shape[1:]), before, layer, after], dtype=dtype)
    model.compile(optimizer=gpunn.optimizers.SGD(0.0), loss="half_squared_error")
    y = random.standard_normal((shape[0], *model.output_shape[1:])).astype(dtype)
    for weights in (before, layer, after):
        values = {p.name: random.standard_normal(p.shape) for p in weights.weights}
        if "moving_variance" in values:
            values["moving_variance"] **= 2
        weights.set_weights(list(values.values()))
    loss = model.train_on_batch(x, y)
    workspace = model._trainer.last_batch.workspace
    ours = workspace.calls[-2].y

    inner = LAYERS["Dense"](torch.tensor(x), {}, before, None)
    middle = LAYERS[name](inner, arguments, layer, ours)
    outer = LAYERS["Dense"](middle, {}, after, None)
    loss_torch = 0.5 * ((outer - torch.tensor(y)) ** 2).sum(-1).mean()
    loss_torch.backward()
    # A batch or group of one value becomes 0, and a bias before a normalization has no gradient:
    # only rounding error is left.
    least = 5.0 if name in ("BatchNormalization", "GroupNormalization") else 0.0
    assert_close(ours, middle, TOLERANCE[dtype], "y", least)
    assert loss == pytest.approx(loss_torch.item(), rel=10 * TOLERANCE[dtype])
    weights_torch = [
        w for part in (before, layer, after) for w in getattr(part, "torch_weights", [])
    ]
    found = list(model.gradients().values())
    assert len(found) == len(weights_torch)
    for gradient, weight in zip(found, weights_torch, strict=True):
        assert_close(gradient, weight.grad, 5 * TOLERANCE[dtype], "gradient", least)


# -- losses: the loss of each row of PyTorch tensors


def torch_targets(y_true: Any, arguments: dict, towards: float) -> Any:
    smoothing = arguments.get("label_smoothing", 0.0)
    return y_true * (1 - smoothing) + smoothing * towards


def torch_binary(y_true: Any, y_pred: Any, arguments: dict) -> Any:
    function = (
        F.binary_cross_entropy_with_logits
        if arguments.get("from_logits")
        else F.binary_cross_entropy
    )
    target = torch_targets(y_true, arguments, 0.5)
    return function(y_pred, target, reduction="none").mean(-1)


def torch_categorical(y_true: Any, y_pred: Any, arguments: dict) -> Any:
    # Keras divides probabilities by their sum; PyTorch's cross-entropy takes logits.
    logits = y_pred if arguments.get("from_logits") else torch.log(y_pred)
    smoothing = arguments.get("label_smoothing", 0.0)
    return F.cross_entropy(logits, y_true, reduction="none", label_smoothing=smoothing)


def torch_margin(y_true: Any, y_pred: Any, margin: float) -> Any:
    zero = torch.zeros_like(y_pred)
    return F.margin_ranking_loss(y_pred, zero, y_true, margin=margin, reduction="none")


LOSSES: dict[str, Callable[[Any, Any, dict], Any]] = {
    "MeanSquaredError": lambda t, p, arguments: F.mse_loss(p, t, reduction="none").mean(-1),
    "HalfSquaredError": lambda t, p, arguments: 0.5 * F.mse_loss(p, t, reduction="none").sum(-1),
    "BinaryCrossentropy": torch_binary,
    "CategoricalCrossentropy": torch_categorical,
    "SparseCategoricalCrossentropy": lambda t, p, arguments: torch_categorical(
        t.long(), p, arguments
    ),
    "EuclideanDistance": lambda t, p, arguments: torch.linalg.vector_norm(p - t, dim=-1),
    "MeanAbsoluteError": lambda t, p, arguments: F.l1_loss(p, t, reduction="none").mean(-1),
    "MeanAbsolutePercentageError": lambda t, p, arguments: 100 * ((p - t) / t).abs().mean(-1),
    "MeanSquaredLogarithmicError": lambda t, p, arguments: F.mse_loss(
        p.log1p(), t.log1p(), reduction="none"
    ).mean(-1),
    "Huber": lambda t, p, arguments: F.huber_loss(p, t, reduction="none", **arguments).mean(-1),
    "LogCosh": lambda t, p, arguments: (p - t).cosh().log().mean(-1),
    "CosineSimilarity": lambda t, p, arguments: -F.cosine_similarity(p, t, dim=-1, eps=0.0),
    "KLDivergence": lambda t, p, arguments: F.kl_div(p.log(), t, reduction="none").sum(-1),
    "Poisson": lambda t, p, arguments: F.poisson_nll_loss(
        p, t, log_input=False, eps=1e-7, reduction="none"
    ).mean(-1),
    "Hinge": lambda t, p, arguments: torch_margin(t, p, 1.0).mean(-1),
    "SquaredHinge": lambda t, p, arguments: (torch_margin(t, p, 1.0) ** 2).mean(-1),
    "PerceptronCriterion": lambda t, p, arguments: torch_margin(t, p, 0.0).mean(-1),
    "CategoricalHinge": lambda t, p, arguments: F.relu(
        1 + ((1 - t) * p).amax(-1) - (t * p).sum(-1)
    ),
}


def reduced(values: Any, weights: Any, arguments: dict) -> Any:
    values = values if weights is None else values * torch.tensor(weights)
    return values.sum() if arguments.get("reduction") == "sum" else values.mean()


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("dtype", TOLERANCE)
@compared("loss", LOSSES)
def test_losses(name: str, arguments: dict, dtype: str, weighted: bool) -> None:
    random = np.random.default_rng(1)
    backend = get_backend("numpy")
    loss = registered.make("loss", name, arguments)
    for shape in ((1, 2), (7, 3), (64, 10)):
        y_pred = predictions_for(loss, shape, random).astype(dtype)
        y_true = targets_for(loss, y_pred, random)
        y_true = y_true.astype(np.int32 if loss.sparse else dtype)
        weights = random.uniform(0, 3, shape[0]).astype(dtype) if weighted else None
        gradient, totals = np.full_like(y_pred, np.nan), np.zeros(3)
        scale = 1.0 if loss.reduction == "sum" else 1.0 / shape[0]
        loss.add_up(backend, y_true, y_pred, weights, scale, gradient, totals)

        p = torch.tensor(y_pred, requires_grad=True)
        values = LOSSES[name](torch.tensor(y_true), p, arguments)
        theirs = reduced(values, weights, arguments)
        theirs.backward()
        tolerance = 4 * TOLERANCE[dtype]
        assert totals[0] / totals[1] == pytest.approx(theirs.item(), rel=tolerance)
        assert loss(y_true, y_pred, weights) == pytest.approx(theirs.item(), rel=tolerance)
        assert_close(gradient, p.grad, tolerance, "gradient")


FUSED = {
    "softmax, sparse": ("softmax", losses.SparseCategoricalCrossentropy()),
    "softmax, dense": ("softmax", losses.CategoricalCrossentropy()),
    "softmax, dense, smoothed": ("softmax", losses.CategoricalCrossentropy(label_smoothing=0.1)),
    "sigmoid, binary": ("sigmoid", losses.BinaryCrossentropy()),
    "sigmoid, binary, smoothed": ("sigmoid", losses.BinaryCrossentropy(label_smoothing=0.1)),
}


def within(logits: Any, activation: str) -> Any:
    """Return logits whose probabilities are clipped to [1e-7, 1 - 1e-7] as in Keras."""
    if activation == "softmax":
        return F.log_softmax(logits, -1).clip(np.log(1e-7), np.log1p(-(2**-23)))
    return torch.logit(torch.sigmoid(logits).clip(1e-7, 1 - 2**-23))


@pytest.mark.parametrize("scale", [1.0, 1000.0], ids=["small logits", "large logits"])
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("ending", FUSED)
def test_output_activations_fused_with_their_losses(
    ending: str, weighted: bool, scale: float
) -> None:
    """The value is that of probabilities as Keras clips them, the gradient that of logits."""
    activation, loss = FUSED[ending]
    random = np.random.default_rng(3)
    model = gpunn.Sequential([layers.Input((6,)), layers.Dense(4, activation=activation)])
    model.compile(optimizer=gpunn.optimizers.SGD(0.0), loss=loss)
    x = (scale * random.standard_normal((9, 6))).astype(np.float32)
    y_true = targets_for(loss, np.empty((9, 4)), random)
    y_true = y_true.astype(np.int32 if loss.sparse else np.float32)
    weights = random.uniform(0, 3, 9).astype(np.float32) if weighted else None
    value = model.train_on_batch(x, y_true, sample_weight=weights)

    kernel, bias = (torch.tensor(w, requires_grad=True) for w in model.get_weights())
    logits = torch.tensor(x) @ kernel + bias
    arguments = {"from_logits": True, "label_smoothing": loss.label_smoothing}
    formula, targets = LOSSES[type(loss).__name__], torch.tensor(y_true)
    reduced(formula(targets, logits, arguments), weights, arguments).backward()
    kept = within(logits.detach().double(), activation)
    targets = targets if loss.sparse else targets.double()
    theirs = reduced(formula(targets, kept, arguments), weights, arguments)
    assert model._trainer.terms[0].fused
    assert value == pytest.approx(theirs.item(), rel=1e-5)
    gradients = model.gradients()
    assert_close(gradients[f"{model.layers[0].name}/kernel"], kernel.grad, 1e-5, "kernel")
    assert_close(gradients[f"{model.layers[0].name}/bias"], bias.grad, 1e-5, "bias")


# -- optimizers


def torch_sgd(parameters: list, o: Any) -> Callable[[], None]:
    """PyTorch's SGD.

    Its momentum buffer excludes the rate (v = mu v + g, w -= lr v), which equals Keras's as long as
    the rate is constant. Its weight decay is added to the gradient; here decay is applied before
    the step, as in Keras.
    """
    sgd = torch.optim.SGD(parameters, o.learning_rate, o.momentum, nesterov=o.nesterov)

    def step() -> None:
        with torch.no_grad():
            for p in parameters:
                p.mul_(1 - o.learning_rate * (o.weight_decay or 0.0))
        sgd.step()

    return step


def torch_adam(parameters: list, o: Any) -> Callable[[], None]:
    """PyTorch's AdamW with the epsilon that is equivalent to Keras's.

    Keras divides by sqrt(v) + epsilon, PyTorch by sqrt(v / (1 - b2^t)) + epsilon: the same
    if PyTorch's epsilon is epsilon / sqrt(1 - b2^t), set again for each step.
    """
    adam = torch.optim.AdamW(
        parameters,
        o.learning_rate,
        (o.beta_1, o.beta_2),
        weight_decay=o.weight_decay or 0.0,
        amsgrad=o.amsgrad,
    )
    taken = 0

    def step() -> None:
        nonlocal taken
        taken += 1
        for group in adam.param_groups:
            group["eps"] = o.epsilon / (1 - o.beta_2**taken) ** 0.5
        adam.step()

    return step


def after_decay(optimizer: Any, parameters: list, o: Any) -> Callable[[], None]:
    """Make steps of PyTorch's optimizer, with Keras's weight decay before each."""

    def step() -> None:
        with torch.no_grad():
            for p in parameters:
                p.mul_(1 - o.learning_rate * (o.weight_decay or 0.0))
        optimizer.step()

    return step


def first_states(optimizer: Any, parameters: list) -> list[dict]:
    """Return the state of PyTorch's optimizer for each parameter before the first step."""
    for p in parameters:
        p.grad = torch.zeros_like(p)
    optimizer.step()
    states = [optimizer.state[p] for p in parameters]
    for state in states:
        for array in state.values():
            array.zero_()
    return states


def with_epsilon(
    optimizer: Any, parameters: list, o: Any, name: str, keep: float, epsilon: float
) -> Callable[[], None]:
    """PyTorch's optimizer with Keras's epsilon; its own epsilon is set to ``epsilon``.

    Keras adds its epsilon to the updated state, keep * state + ...: PyTorch computes the same if
    the state is larger by epsilon / keep, which is subtracted after each step.
    """
    states = first_states(optimizer, parameters)
    optimizer.param_groups[0]["eps"] = epsilon
    inner = after_decay(optimizer, parameters, o)

    def step() -> None:
        for state in states:
            state[name] += o.epsilon / keep
        inner()
        for state in states:
            state[name] -= o.epsilon

    return step


def torch_rmsprop(parameters: list, o: Any) -> Callable[[], None]:
    rmsprop = torch.optim.RMSprop(
        parameters, o.learning_rate, o.rho, momentum=o.momentum, centered=o.centered
    )
    return with_epsilon(rmsprop, parameters, o, "square_avg", o.rho, 0.0)


def torch_adamax(parameters: list, o: Any) -> Callable[[], None]:
    """PyTorch adds epsilon to |g|; Keras adds it to the larger of |g| and the decayed norm."""
    adamax = torch.optim.Adamax(parameters, o.learning_rate, (o.beta_1, o.beta_2))
    return with_epsilon(adamax, parameters, o, "exp_inf", o.beta_2, o.epsilon)


def torch_adagrad(parameters: list, o: Any) -> Callable[[], None]:
    """Keras adds epsilon to the sum of squares, which is the same as starting with it."""
    first = o.initial_accumulator_value + o.epsilon
    adagrad = torch.optim.Adagrad(
        parameters, o.learning_rate, initial_accumulator_value=first, eps=0.0
    )
    return after_decay(adagrad, parameters, o)


def torch_adadelta(parameters: list, o: Any) -> Callable[[], None]:
    adadelta = torch.optim.Adadelta(parameters, o.learning_rate, o.rho, o.epsilon)
    return after_decay(adadelta, parameters, o)


def torch_nadam(parameters: list, o: Any) -> Callable[[], None]:
    """By default, PyTorch's momentum grows 250 times more slowly."""
    nadam = torch.optim.NAdam(
        parameters, o.learning_rate, (o.beta_1, o.beta_2), o.epsilon, momentum_decay=1.0
    )
    for state in first_states(nadam, parameters):
        state["mu_product"] = torch.ones((), dtype=torch.float64)  # PyTorch's is float32
    return after_decay(nadam, parameters, o)


OPTIMIZERS: dict[str, Callable[[list, Any], Callable[[], None]]] = {
    "SGD": torch_sgd,
    "Adam": torch_adam,
    "AdamW": torch_adam,
    "Adamax": torch_adamax,
    "Nadam": torch_nadam,
    "Adagrad": torch_adagrad,
    "Adadelta": torch_adadelta,
    "RMSprop": torch_rmsprop,
}


def clip(parameters: list, o: Any) -> None:
    def by_norm(group: list, limit: float) -> None:
        # PyTorch divides by the norm plus 1e-6, Keras by the norm.
        norm = torch.nn.utils.get_total_norm([p.grad for p in group]) - 1e-6
        torch.nn.utils.clip_grads_with_norm_(group, limit, norm)

    if o.clipvalue is not None:
        torch.nn.utils.clip_grad_value_(parameters, o.clipvalue)
    if o.clipnorm is not None:
        for p in parameters:
            by_norm([p], o.clipnorm)
    if o.global_clipnorm is not None:
        by_norm(parameters, o.global_clipnorm)


def network(optimizer: Any, dtype: str, frozen: bool = False) -> tuple[Any, list, Any]:
    """Return a model, its weights as PyTorch parameters, and the PyTorch forward pass."""
    gpunn.utils.set_random_seed(5)
    model = gpunn.Sequential(
        [
            layers.Input((20,)),
            layers.Dense(16, activation="tanh"),
            layers.Dense(12, activation="relu", trainable=not frozen),
            layers.Dense(10, activation="softmax"),
        ],
        dtype=dtype,
    )
    model.compile(optimizer=optimizer, loss="sparse_categorical_crossentropy")
    parameters = [torch.nn.Parameter(torch.tensor(w)) for w in model.get_weights()]

    def forward(x: Any) -> Any:
        w1, b1, w2, b2, w3, b3 = parameters
        return torch.relu(torch.tanh(x @ w1 + b1) @ w2 + b2) @ w3 + b3

    return model, parameters, forward


@pytest.mark.in_turn(3)
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("frozen", [False, True], ids=["all", "one frozen"])
@compared("optimizer", OPTIMIZERS)
def test_fifty_steps(name: str, arguments: dict, dtype: str, frozen: bool) -> None:
    model, parameters, forward = network(
        registered.make("optimizer", name, arguments), dtype, frozen
    )
    trained = parameters[:2] + parameters[4:] if frozen else parameters
    step = OPTIMIZERS[name](trained, model.optimizer)
    random = np.random.default_rng(6)
    clipped = False
    for _ in range(50):
        x = random.standard_normal((24, 20)).astype(dtype)
        y = random.integers(0, 10, 24)
        ours = model.train_on_batch(x, y)
        for p in parameters:
            p.grad = None
        theirs = F.cross_entropy(forward(torch.tensor(x)), torch.tensor(y))
        theirs.backward()
        before = [p.grad.clone() for p in trained]
        clip(trained, model.optimizer)
        clipped |= not all(torch.equal(a, p.grad) for a, p in zip(before, trained, strict=True))
        step()
        assert ours == pytest.approx(theirs.item(), rel=20 * TOLERANCE[dtype])
    assert clipped == (model.optimizer.clipping is not None)
    # Rounding errors grow with each step: after 50 steps, float32 results differ by some 1e-6.
    allowed = 1e-5 if dtype == "float32" else 1e-13
    for ours, theirs in zip(model.weights, parameters, strict=True):
        assert_close(ours.numpy(), theirs, allowed, ours.path)
