"""`gpunn.vjp`, `jvp`, `jacobian` and `hessian` beside PyTorch's, and what they are for."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from small_models import Cubed

import gpunn
from gpunn import layers, ops
from gpunn.ops.trace import current

pytestmark = [
    pytest.mark.usefixtures("doubles"),
    pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning"),  # by torch.func
]
random = np.random.default_rng(0)
X, W, B = random.standard_normal((2, 3)), random.standard_normal((3, 2)), np.array([0.5, -1.0])
TIGHT: dict[str, float] = {"rtol": 1e-10, "atol": 1e-10}


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Layers draw their seeds when they are created."""
    gpunn.utils.set_random_seed(0)


def is_structure(x: Any) -> bool:
    """Return whether x contains several arguments or results: lists of floats are arrays."""
    return isinstance(x, tuple) or (isinstance(x, list) and not isinstance(x[0], float))


def own(x: Any) -> Any:
    """The same numbers as tensors of PyTorch, at any depth."""
    if isinstance(x, dict):
        return {key: own(entry) for key, entry in x.items()}
    if is_structure(x):
        return type(x)(own(entry) for entry in x)
    return torch.tensor(np.asarray(x), dtype=torch.float64)


def assert_same(found: Any, expected: Any) -> None:
    """Check structures, shapes and numbers to 1e-10."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key in expected:
            assert_same(found[key], expected[key])
    elif isinstance(expected, (list, tuple)):
        assert type(found) is type(expected) and len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    else:
        assert found.shape == tuple(expected.shape)
        assert_allclose(np.asarray(found), expected.detach().numpy(), **TIGHT)


def drawn_like(x: Any, seed: int) -> Any:
    """Draw numbers in the structure of results, for cotangents and tangents."""
    draw = np.random.default_rng(seed)

    def drawn(x: Any) -> Any:
        if isinstance(x, dict):
            return {key: drawn(entry) for key, entry in x.items()}
        if is_structure(x):
            return type(x)(drawn(entry) for entry in x)
        return draw.standard_normal(np.shape(x))

    return drawn(x)


def inner(a: Any, b: Any) -> float:
    """The sum of products of two structures of numbers."""
    if isinstance(a, dict):
        return sum(inner(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return sum(inner(x, y) for x, y in zip(a, b, strict=True))
    return float(np.sum(np.asarray(a) * np.asarray(b)))


# Functions of gpunn and of PyTorch, and their arguments.
CASES: dict[str, tuple[Callable[..., Any], Callable[..., Any], tuple[Any, ...]]] = {
    "of a number": (lambda x: ops.sin(x) * x, lambda x: torch.sin(x) * x, (0.7,)),
    "with a number as result": (
        lambda x, w: ops.sum(ops.tanh(x @ w) ** 2), lambda x, w: (torch.tanh(x @ w) ** 2).sum(),
        (X, W),
    ),
    "of rows": (
        lambda x, w: ops.softmax(x @ w["kernel"] + w["bias"]),
        lambda x, w: torch.softmax(x @ w["kernel"] + w["bias"], -1),
        (X, {"kernel": W, "bias": B}),
    ),
    "several results": (
        lambda x, pair: {"a": ops.cumsum(x * pair[0]), "b": [ops.exp(x), (ops.sum(x) * pair[1],)]},
        lambda x, pair: {
            "a": torch.cumsum(x * pair[0], 0), "b": [torch.exp(x), (x.sum() * pair[1],)],
        },
        ([0.5, -1.5, 2.0], (X[0], X[1])),
    ),
    "without the second argument": (
        lambda x, y: ops.square(x), lambda x, y: torch.square(x) + 0 * y.sum(), (B, X),
    ),
}  # fmt: skip


@pytest.mark.in_turn(2)
@pytest.mark.parametrize("case", CASES)
def test_all_four_are_those_of_pytorch(every_backend: str, case: str) -> None:
    gpunn.use_backend(every_backend)
    function, torchs, primals = CASES[case]
    numbers = tuple(range(len(primals)))
    value, pulled = gpunn.vjp(function, *primals)
    expected, torch_pulled = torch.func.vjp(torchs, *own(primals))
    assert_same(value, expected)
    cotangents, tangents = drawn_like(expected, 1), drawn_like(primals, 2)
    assert_same(pulled(cotangents), torch_pulled(own(cotangents)))
    assert_same(
        gpunn.jvp(function, primals, tangents), torch.func.jvp(torchs, own(primals), own(tangents))
    )
    for argnums, same in ((0, 0), (-1, len(primals) - 1), (numbers, numbers)):
        assert_same(
            gpunn.jacobian(function, argnums)(*primals),
            torch.func.jacrev(torchs, same)(*own(primals)),
        )
        assert_same(
            gpunn.hessian(function, argnums)(*primals),
            torch.func.hessian(torchs, same)(*own(primals)),
        )
    assert current() is None


def network(*chain: Any, backend: str = "numpy", inputs: Any = (3,)) -> Any:
    model = gpunn.Sequential([layers.Input(inputs), *chain], dtype="float64", backend=backend)
    model.get_weights()  # which draws them
    return model


@pytest.mark.traced  # eager steps compute on the backend that is chosen
def test_of_models_they_are_those_of_pytorch(every_backend: str) -> None:
    """By weights, and by the input, whichever backend is chosen outside."""
    model = network(layers.Dense(4, "tanh"), layers.Dense(2, "softmax"), backend=every_backend)
    weights = model.trainable_variables
    torch_weights = [torch.tensor(w.numpy()) for w in weights]

    def ours(weights: Any, x: Any) -> Any:
        return model(x)

    def theirs(weights: Any, x: Any) -> Any:
        a, b, c, d = weights
        return torch.softmax(torch.tanh(x @ a + b) @ c + d, -1)

    direction = drawn_like([w.numpy() for w in weights], 3), drawn_like(X, 4)
    assert_same(
        gpunn.jvp(ours, (weights, X), direction),
        torch.func.jvp(theirs, (torch_weights, own(X)), own(direction)),
    )
    assert_same(
        gpunn.jacobian(ours, (0, 1))(weights, X),
        torch.func.jacrev(theirs, (0, 1))(torch_weights, own(X)),
    )
    found = gpunn.hessian(lambda weights, x: ops.sum(ours(weights, x)[:, 0]))(weights, X)
    assert_same(
        found, torch.func.hessian(lambda w, x: theirs(w, x)[:, 0].sum())(torch_weights, own(X))
    )
    gpunn.use_backend(every_backend)
    value, pulled = gpunn.vjp(ours, weights, X)
    expected, torch_pulled = torch.func.vjp(theirs, torch_weights, own(X))
    assert_same(value, expected)
    u = drawn_like(X[:, :2], 5)
    for _ in range(2):
        assert_same(pulled(u), torch_pulled(own(u)))
    before = model.get_weights()
    model.set_weights([0 * w for w in before])
    assert_same(pulled(u), torch_pulled(own(u)))  # those of the weights when it was called
    model.set_weights(before)


def test_through_images_and_batches() -> None:
    chain = [layers.Conv2D(2, 2, activation="tanh"), layers.MaxPooling2D(), layers.Flatten(),
             layers.BatchNormalization(), layers.Dense(2)]  # fmt: skip
    model = network(*chain, inputs=(5, 5, 1))
    kernel, bias, scale, shift, _, _, dense, last = map(torch.tensor, model.get_weights())
    images, v = random.standard_normal((2, 3, 5, 5, 1))

    def theirs(x: Any) -> Any:
        x = torch.conv2d(x.permute(0, 3, 1, 2), kernel.permute(3, 2, 0, 1), bias)
        x = torch.max_pool2d(torch.tanh(x), 2).permute(0, 2, 3, 1).reshape(3, -1)
        x = (x - x.mean(0)) / torch.sqrt(x.var(0, unbiased=False) + 1e-3) * scale + shift
        return x @ dense + last

    found = gpunn.jvp(lambda x: model(x, training=True), (images,), (v,))
    assert_same(found, torch.func.jvp(theirs, (own(images),), (own(v),)))
    whole = gpunn.jacobian(lambda x: model(x, training=True))(images)
    assert_same(whole, torch.func.jacrev(theirs)(own(images)))


class Sloped(layers.Layer):
    """A layer whose result and loss are derivatives of a function of its weights."""

    def build(self, input_shape: Any) -> None:
        self.w = self.add_weight((3, 2), name="w")

    def call(self, x: Any) -> Any:
        value, pulled = gpunn.vjp(lambda z: ops.tanh(z @ self.w), x)
        (back,) = pulled(value)
        _, along = gpunn.jvp(lambda z: ops.tanh(z @ self.w), (x,), (back,))
        bent = gpunn.hessian(lambda w: ops.sum(ops.tanh(x @ w)))(self.w)
        self.add_loss(ops.mean(bent**2))
        return along + ops.sum(gpunn.jacobian(lambda z: ops.tanh(z @ self.w))(x[0]) ** 2)


def test_inside_a_call_they_are_trained_through_as_in_pytorch(every_backend: str) -> None:
    model = network(Sloped(), backend=every_backend)
    model.compile(gpunn.optimizers.SGD(0.5), "mse")
    w = torch.tensor(model.get_weights()[0], requires_grad=True)
    x, y = own(X), torch.ones(2, 2, dtype=torch.float64)

    def theirs(z: Any, w: Any = w) -> Any:
        return torch.tanh(z @ w)

    value, pulled = torch.func.vjp(theirs, x)
    _, along = torch.func.jvp(theirs, (x,), pulled(value))
    bent = torch.func.hessian(lambda w: theirs(x, w).sum())(w)
    out = along + (torch.func.jacrev(theirs)(x[0]) ** 2).sum()
    loss = ((out - y) ** 2).mean() + (bent**2).mean()
    (slope,) = torch.autograd.grad(loss, w)
    found = model.fit(X, y.numpy(), batch_size=2, verbose=0).history["loss"][0]
    assert found == pytest.approx(loss.item(), rel=1e-10)
    assert_allclose(model.get_weights()[0], (w - 0.5 * slope).detach(), **TIGHT)


@pytest.mark.parametrize("eagerly", [False, True])
def test_they_can_be_differentiated_again(eagerly: bool, backend: str) -> None:
    gpunn.use_backend(backend)
    gpunn.config.run_eagerly(eagerly)
    try:
        u, v = drawn_like(X @ W, 6), drawn_like(X, 7)

        def ours(w: Any) -> Any:
            def inside(x: Any) -> Any:
                return ops.sin(x @ w) * w[0]

            value, pulled = gpunn.vjp(inside, X)
            products = ops.sum(pulled(u)[0] ** 2) + ops.sum(gpunn.jvp(inside, (X,), (v,))[1] ** 2)
            return products + ops.sum(gpunn.jacobian(inside)(X) ** 3) + ops.sum(value)

        def theirs(w: Any) -> Any:
            def inside(x: Any) -> Any:
                return torch.sin(x @ w) * w[0]

            value, pulled = torch.func.vjp(inside, own(X))
            along = torch.func.jvp(inside, (own(X),), (own(v),))[1]
            products = (pulled(own(u))[0] ** 2).sum() + (along**2).sum()
            return products + (torch.func.jacrev(inside)(own(X)) ** 3).sum() + value.sum()

        expected = torch.func.grad(theirs)(own(W))
        assert_same(gpunn.grad(ours)(W), expected)
        w = gpunn.Variable(W)
        with gpunn.GradientTape() as tape:
            y = ours(w)
        assert_same(tape.gradient(y, w), expected)
        assert_same(gpunn.hessian(ours)(W), torch.func.hessian(theirs)(own(W)))
    finally:
        gpunn.config.run_eagerly(False)


def test_what_a_function_closes_over_is_constant() -> None:
    """The inner derivatives are by y alone, although its values are those of x."""
    found = gpunn.jacobian(lambda x: x * gpunn.jacobian(lambda y: x * y**2)(x))(3.0)
    assert found.item() == pytest.approx(6 * 3.0**2)
    found = gpunn.jvp(lambda x: x * gpunn.jvp(lambda y: x * y**2, (x,), (1.0,))[1], (3.0,), (1.0,))
    assert found[1].item() == pytest.approx(6 * 3.0**2)
    found = gpunn.jacobian(lambda x: x * gpunn.vjp(lambda y: x * y**2, x)[1](1.0)[0])(3.0)
    assert found.item() == pytest.approx(6 * 3.0**2)


def test_the_function_is_called_once_and_products_are_linear_in_what_they_take() -> None:
    calls = []

    def function(x: Any) -> Any:
        calls.append(1)
        return gpunn.random.dropout(x, 0.5) * x  # other numbers at each call

    value, pulled = gpunn.vjp(function, np.ones(50))
    kept = value.numpy()
    assert_allclose(pulled(np.ones(50))[0].numpy(), 2 * kept, **TIGHT)
    assert_allclose(pulled(3 * np.ones(50))[0].numpy(), 6 * kept, **TIGHT)
    assert calls == [1] and 0 < np.count_nonzero(kept) < 50
    u = ops.convert_to_tensor(np.arange(50.0))
    with gpunn.GradientTape() as tape:
        tape.watch(u)
        y = ops.sum(pulled(u)[0] ** 2)
    assert_allclose(tape.gradient(y, u).numpy(), 8 * kept**2 * np.arange(50.0), **TIGHT)
    found = gpunn.grad(lambda u: ops.sum(pulled(u)[0] ** 2))(np.arange(50.0))
    assert_allclose(found.numpy(), 8 * kept**2 * np.arange(50.0), **TIGHT)


UNARY = (ops.tanh, ops.sin, ops.sigmoid, ops.square, ops.softmax, ops.silu, ops.cumsum)


def drawn_function(draw: np.random.Generator) -> Callable[[Any], Any]:
    """Draw a smooth function of four numbers that mixes them."""
    steps = [(draw.choice(UNARY), draw.standard_normal((4, 4)) / 2) for _ in range(3)]  # type: ignore[arg-type]

    def function(x: Any) -> Any:
        for step, matrix in steps:
            x = step(x @ matrix) + x * x[::-1]
        return x

    return function


some_seeds = pytest.mark.parametrize(
    "seeds", [range(8), pytest.param(range(8, 25), marks=pytest.mark.more)]
)


def programs(seeds: range) -> Iterator[tuple[np.random.Generator, Any, Any, np.ndarray]]:
    for seed in seeds:
        draw = np.random.default_rng(seed)
        yield draw, drawn_function(draw), drawn_function(draw), draw.uniform(-1, 1, 4)


@some_seeds
def test_products_with_a_jacobian_agree_with_it_and_with_each_other(
    backend: str, seeds: range
) -> None:
    gpunn.use_backend(backend)
    for draw, f, _, x in programs(seeds):
        u, v = draw.standard_normal((2, 4))
        _, along = gpunn.jvp(f, (x,), (v,))
        (back,) = gpunn.vjp(f, x)[1](u)
        assert inner(u, along) == pytest.approx(inner(back, v), rel=1e-10, abs=1e-12)
        whole = gpunn.jacobian(f)(x).numpy()
        assert_allclose(whole @ v, along.numpy(), **TIGHT)
        assert_allclose(u @ whole, back.numpy(), **TIGHT)
        assert np.abs(whole - whole.T).max() > 0.01  # transposed it would be another


@some_seeds
def test_of_a_chain_it_is_the_product_and_that_of_a_gradient_is_symmetric(seeds: range) -> None:
    for _, f, g, x in programs(seeds):
        chained = gpunn.jacobian(lambda x, f=f, g=g: g(f(x)))(x).numpy()
        parts = gpunn.jacobian(g)(f(ops.convert_to_tensor(x))), gpunn.jacobian(f)(x)
        assert_allclose(chained, parts[0].numpy() @ parts[1].numpy(), rtol=1e-9, atol=1e-9)

        def total(x: Any, f: Any = f) -> Any:
            return ops.sum(f(x))

        bent = gpunn.hessian(total)(x).numpy()
        assert_allclose(bent, bent.T, rtol=1e-9, atol=1e-9)
        assert_allclose(bent, gpunn.jacobian(gpunn.grad(total))(x).numpy(), **TIGHT)


def test_newtons_method_solves_a_logistic_regression() -> None:
    """At the solution of a penalized one the slope is 0; each step squares the error."""
    rows = np.random.default_rng(1).standard_normal((40, 3))
    labels = (rows @ [1.0, -2.0, 0.5] + np.random.default_rng(2).standard_normal(40) > 0) * 1.0

    def loss(w: Any) -> Any:
        logits = ops.matmul(rows, w)
        return ops.sum(ops.softplus(logits) - labels * logits) + ops.sum(w**2) / 2

    w, sizes = np.zeros(3), []
    for _ in range(8):
        slope, bent = gpunn.grad(loss)(w).numpy(), gpunn.hessian(loss)(w).numpy()
        w = w - np.linalg.solve(bent, slope)
        sizes.append(np.abs(slope).max())
    p = 1 / (1 + np.exp(-rows @ w))
    assert_allclose(rows.T @ (p - labels) + w, 0, atol=1e-12)
    assert_allclose(gpunn.hessian(loss)(w), (rows.T * (p * (1 - p))) @ rows + np.eye(3), **TIGHT)
    assert sizes[-1] < 1e-12 < 1e-3 < sizes[0]


@pytest.mark.in_turn(2)
@pytest.mark.parametrize("way", ["Gauss-Newton", "Newton"])
def test_conjugate_gradients_find_the_weights_that_made_the_data(
    every_backend: str, way: str
) -> None:
    """Each step solves a linear system by products alone: with the Jacobian and its transpose, or
    with the Hessian."""
    gpunn.use_backend(every_backend)
    gpunn.utils.set_random_seed(2)  # weights that the data determine well
    model = network(layers.Dense(2, "tanh"), layers.Dense(1), backend=every_backend)
    solution = model.get_weights()
    rows = 2 * np.random.default_rng(3).standard_normal((40, 3))
    wanted = np.asarray(model(rows))
    draw = np.random.default_rng(4)
    model.set_weights([w + 0.01 * draw.standard_normal(w.shape) for w in solution])
    weights = model.trainable_variables

    def missed(weights: Any) -> Any:
        return model(rows) - wanted

    def loss(weights: Any) -> Any:
        return ops.sum(missed(weights) ** 2) / 2

    def flat(parts: Any) -> np.ndarray:
        return np.concatenate([np.asarray(part).ravel() for part in parts])

    def parts(vector: np.ndarray) -> list[np.ndarray]:
        ends = np.cumsum([w.size for w in solution])[:-1]
        pieces = zip(np.split(vector, ends), solution, strict=True)
        return [piece.reshape(w.shape) for piece, w in pieces]

    for _ in range(6):
        residual, pulled = gpunn.vjp(missed, weights)

        def curved(v: np.ndarray, pulled: Any = pulled) -> np.ndarray:
            if way == "Newton":
                return flat(gpunn.jvp(gpunn.grad(loss), (weights,), (parts(v),))[1])
            _, along = gpunn.jvp(missed, (weights,), (parts(v),))
            return flat(pulled(along)[0])

        step = conjugate_gradients(curved, -flat(pulled(residual)[0]))
        model.set_weights([w + s for w, s in zip(model.get_weights(), parts(step), strict=True)])
    for one, other in zip(model.get_weights(), solution, strict=True):
        assert_allclose(one, other, rtol=1e-7, atol=1e-8)


def conjugate_gradients(product: Callable[[np.ndarray], np.ndarray], b: np.ndarray) -> np.ndarray:
    """Return x with product(x) = b, for a symmetric positive definite product."""
    x, r = np.zeros_like(b), b.copy()
    p, size = r.copy(), float(r @ r)
    for _ in range(2 * len(b)):
        if math.sqrt(size) < 1e-14:
            break
        along = product(p)
        rate = size / float(p @ along)
        x, r = x + rate * p, r - rate * along
        size, before = float(r @ r), size
        p = r + size / before * p
    return x


def test_hessian_products_without_the_hessian() -> None:
    model = network(layers.Dense(3, "tanh"), layers.Dense(1))
    weights = model.trainable_variables

    def loss(weights: Any) -> Any:
        return ops.mean(model(X) ** 2)

    v = drawn_like([w.numpy() for w in weights], 8)
    _, found = gpunn.jvp(gpunn.grad(loss), (weights,), (v,))
    whole = gpunn.hessian(loss)(weights)
    for row, one in zip(whole, found, strict=True):
        pairs = zip(row, v, strict=True)
        expected = sum(np.tensordot(h.numpy(), d, np.ndim(d)) for h, d in pairs)
        assert_allclose(one.numpy(), expected, **TIGHT)


def test_shapes_dtypes_and_empty_results() -> None:
    assert gpunn.jacobian(lambda x: x[None])(np.ones((2, 3))).shape == (1, 2, 3, 2, 3)
    assert gpunn.jacobian(lambda x: x[:0])(np.ones((2, 3))).shape == (0, 3, 2, 3)
    assert gpunn.jacobian(lambda x: ops.sum(x))(np.ones((0, 3))).shape == (0, 3)
    assert gpunn.jacobian(lambda x, k: x**k)([1.0, 2.0], k=3).tolist() == [[3.0, 0.0], [0.0, 12.0]]
    single = ops.convert_to_tensor([1.0, 2.0], "float32")
    assert gpunn.jacobian(ops.square)(single).dtype == "float32"
    value, tangent = gpunn.jvp(lambda x: ops.cast(x, "float64"), (single,), ([1, 2],))
    assert (value.dtype, tangent.dtype, tangent.tolist()) == ("float64", "float64", [1.0, 2.0])
    value, pulled = gpunn.vjp(lambda x: ops.cast(x, "float64"), single)
    assert pulled(np.ones(2, "float32"))[0].dtype == "float32"
    value, tangent = gpunn.jvp(lambda x: ops.ones(2), (1.0,), (1.0,))
    assert (value.tolist(), tangent.tolist()) == ([1.0, 1.0], [0.0, 0.0])
    assert gpunn.vjp(lambda x: ops.ones(2), 1)[1]([1, 1])[0].item() == 0.0


def refused(error: type[Exception], match: str, call: Callable[..., Any], *args: Any) -> None:
    with pytest.raises(error, match=match):
        call(*args)
    assert current() is None


never: Any = pytest.fail  # the function is not called before its arguments are checked
ONE, PAIR = np.ones(2), (np.ones(2), 1.0)


def test_each_error_of_an_argument_says_what_came_and_what_to_do() -> None:
    jvp, vjp = gpunn.jvp, gpunn.vjp
    refused(ValueError, "a tangent for each of 1 primals; got 2", jvp, never, [1.0], [1, 2])
    refused(TypeError, r"primals must be a tuple.*float.*\(x,\)", jvp, never, 1.0, 1.0)
    refused(TypeError, r"tangents must be a tuple.*ndarray", jvp, never, (ONE,), ONE)
    wanted = r"tangent 1 must have the shape \(2,\); got \(\)"
    refused(ValueError, wanted, jvp, never, (1.0, ONE), (1.0, 1.0))
    wanted = r"tangent 0 must be a dictionary with the keys \['a'\]; got the keys \['b'"
    refused(ValueError, wanted, jvp, never, ({"a": 1.0},), ({"b": 1.0},))
    wanted = "tangent 0 must be a list or tuple of 2 entries; got a float"
    refused(ValueError, wanted, jvp, never, (PAIR,), (1.0,))
    wanted = r"tangent 0\[0\] must have the shape \(2,\); got \(\)"
    refused(ValueError, wanted, jvp, never, (PAIR,), (PAIR[::-1],))
    refused(TypeError, "tangent 0: .*got None", jvp, never, (1.0,), (None,))
    refused(TypeError, "jvp: argument 0: .*int32", jvp, never, (np.arange(2),), (ONE,))
    refused(TypeError, "vjp: argument 0: .*int32", vjp, never, np.arange(3))
    refused(TypeError, "vjp: argument 1 must be or contain.*got a str", vjp, never, 1.0, "x")
    refused(TypeError, "vjp: the first argument must be the function.*got a nd", vjp, ONE, never)
    refused(TypeError, "jvp: the first argument must be the function", jvp, ONE, (1,), (1,))


@pytest.mark.parametrize("name", ["jacobian", "hessian"])
def test_each_error_of_argnums_says_what_came(name: str) -> None:
    derivative = getattr(gpunn, name)
    refused(TypeError, "argnums names the argument 2; there are 1", derivative(never, 2), 1.0)
    refused(TypeError, "argnums must be the index.*got 'x'", derivative(never, "x"), 1.0)
    refused(TypeError, "argnums must be the index.*got True", derivative(never, True), 1.0)
    refused(ValueError, r"each argument once; got \(0, -1\)", derivative(never, (0, -1)), 1.0)
    wanted = f"{name}: argument 1: gradients are taken by floats; got a tensor of int32"
    refused(TypeError, wanted, derivative(never, 1), 1.0, np.arange(3))
    refused(TypeError, f"{name}: the first argument must be the function.*a int", derivative, 1)


@pytest.mark.parametrize(
    "call",
    [
        lambda f: gpunn.vjp(f, ONE), lambda f: gpunn.jvp(f, (ONE,), (ONE,)),
        lambda f: gpunn.jacobian(f)(ONE), lambda f: gpunn.hessian(f)(ONE),
    ],
)  # fmt: skip
def test_each_error_of_a_result_says_what_to_return(call: Any) -> None:
    refused(TypeError, "got a ndarray.*gpunn.ops instead of NumPy", call, lambda x: ONE)
    refused(TypeError, "got a float, which has no", call, lambda x: {"a": 1.0})
    refused(TypeError, "got a NoneType, which has no", call, lambda x: None)
    wanted = "must return floats; got a tensor of int32.*cast"
    refused(TypeError, wanted, call, lambda x: [x, ops.argmax(x)])


def test_each_error_of_a_cotangent_says_what_came() -> None:
    pulled = gpunn.vjp(lambda x: {"a": x, "b": [x]}, ONE)[1]
    wanted = r"the cotangent must be a dictionary with the keys \['a', 'b'\]; got a nd"
    refused(ValueError, wanted, pulled, ONE)
    wanted = r"cotangent\['b'\]\[0\] must have the shape \(2,\); got \(3,\)"
    refused(ValueError, wanted, pulled, {"a": ONE, "b": [np.ones(3)]})
    wanted = r"cotangent\['b'\] must be a list or tuple of 1 entries; got 2 entries"
    refused(ValueError, wanted, pulled, {"a": ONE, "b": [ONE, ONE]})
    (found,) = pulled({"a": ONE, "b": [2 * ONE]})
    assert found.tolist() == [3.0, 3.0]


def test_layers_that_define_passes_on_arrays_have_first_derivatives_by_their_input(
    backend: str,
) -> None:
    gpunn.use_backend(backend)
    cubed = Cubed()
    cubed(X)
    slopes = 3 * X.astype("float32") ** 2
    _, pulled = gpunn.vjp(cubed, X)
    assert_allclose(pulled(np.ones_like(X))[0].numpy(), slopes, 1e-6)
    found = gpunn.jacobian(cubed)(X).numpy().reshape(6, 6)
    assert_allclose(found, np.diag(slopes.ravel()), 1e-6)
    refused(ValueError, "jvp: cubed.*second derivative.*vjp", gpunn.jvp, cubed, (X,), (X,))
    refused(ValueError, "cubed.*second derivative", gpunn.hessian(cubed), X)
    wanted = "cubed.*defines its passes.*no derivative by cubed.*factor.*value_and_grad"
    refused(ValueError, wanted, gpunn.jacobian(lambda w: cubed(X)), cubed.factor)
    wanted = "cubed.*defines its passes.*inside the later tape"
    refused(ValueError, wanted, gpunn.grad(lambda u: ops.sum(pulled(u)[0])), X)


def test_a_layer_inside_is_trained_by_the_loss_alone() -> None:
    """Its passes write the gradients of its weights, but not those that a derivative asks for."""

    class Scaled(layers.Layer):
        def build(self, input_shape: Any) -> None:
            self.factor = self.parameter((1,), gpunn.initializers.Ones(), "factor")

        def compute_output_shape(self, input_shape: Any) -> Any:
            return input_shape

        def forward(self, call: Any) -> None:
            call.backend.xp.multiply(call.x, self.factor.value, out=call.y)

        def backward(self, call: Any) -> None:
            if call.trains:
                before = self.factor.gradient if call.accumulate_gradients else 0.0
                self.factor.gradient[...] = before + (call.dy * call.x).sum()
            call.backend.xp.multiply(call.dy, self.factor.value, out=call.dx)

    class Watching(layers.Layer):
        def __init__(self, way: str) -> None:
            super().__init__()
            self.way, self.inner = way, Scaled()

        def build(self, input_shape: Any) -> None:
            self.inner.build(input_shape)

        def call(self, x: Any) -> Any:
            if self.way == "jacobian":
                slope = ops.sum(gpunn.jacobian(self.inner)(x))
            elif self.way == "tape":
                with gpunn.GradientTape() as tape:
                    tape.watch(x)
                    y = self.inner(x)
                slope = ops.sum(tape.gradient(y, x))
            else:
                slope = 0.0
            return self.inner(x) + 0 * ops.stop_gradient(slope)

    found = []
    for way in ("none", "jacobian", "tape"):
        model = network(Watching(way))
        model.compile(gpunn.optimizers.SGD(0.1), "mse")
        model.fit(X, 5 * X, epochs=2, batch_size=2, verbose=0)
        found.append(model.get_weights()[0])
    assert found[0] != 1
    assert_array_equal(found[1], found[0])
    assert_array_equal(found[2], found[0])
