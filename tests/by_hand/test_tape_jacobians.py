"""`GradientTape.jacobian` and `batch_jacobian`, beside PyTorch's and TensorFlow's rules."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from small_models import Cubed

import gpunn
from gpunn import layers, ops
from gpunn.ops.trace import current

pytestmark = [
    pytest.mark.usefixtures("doubles"),
    pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning"),  # by torch.func
]
random = np.random.default_rng(0)
X, W = random.standard_normal((4, 3)), random.standard_normal((3, 2))
TIGHT: dict[str, float] = {"rtol": 1e-10, "atol": 1e-10}


def numbers(x: Any) -> torch.Tensor:
    return torch.tensor(np.asarray(x), dtype=torch.float64)


def theirs(x: Any, w: Any) -> Any:
    return torch.softmax(torch.sin(x) @ w, -1) * x[..., :1]


def ours(x: Any, w: Any) -> Any:
    return ops.softmax(ops.sin(x) @ w) * x[..., :1]


@pytest.mark.parametrize("where", ["inside", "after"])
def test_a_jacobian_is_that_of_pytorch(every_backend: str, where: str) -> None:
    gpunn.use_backend(every_backend)
    x, w, z = ops.convert_to_tensor(X), gpunn.Variable(W), ops.convert_to_tensor([1.0])
    with gpunn.GradientTape() as tape:
        tape.watch([x, z])
        y = ours(x, w)
        if where == "inside":
            found = tape.jacobian(y, {"x": x, "others": (w, [z])})
    if where == "after":
        found = tape.jacobian(y, {"x": x, "others": (w, [z])})
    dx, dw = torch.func.jacrev(theirs, (0, 1))(numbers(X), numbers(W))
    assert found["x"].shape == (4, 2, 4, 3) and found["others"][0].shape == (4, 2, 3, 2)
    assert_allclose(found["x"].numpy(), dx.numpy(), **TIGHT)
    assert_allclose(found["others"][0].numpy(), dw.numpy(), **TIGHT)
    assert found["others"][1] == [None] and current() is None
    assert (found["x"] + 1).shape == (4, 2, 4, 3)  # a tensor from now on


@pytest.mark.parametrize("where", ["inside", "after"])
def test_a_batch_jacobian_is_that_of_each_sample(every_backend: str, where: str) -> None:
    gpunn.use_backend(every_backend)
    x = ops.convert_to_tensor(X)
    with gpunn.GradientTape() as tape:
        tape.watch(x)
        y = ours(x, W)
        if where == "inside":
            found = tape.batch_jacobian(y, x)
    if where == "after":
        found = tape.batch_jacobian(y, x)
    expected = torch.func.vmap(torch.func.jacrev(lambda x: theirs(x, numbers(W))))(numbers(X))
    assert found.shape == (4, 2, 3)
    assert_allclose(found.numpy(), expected.numpy(), **TIGHT)


def test_samples_and_targets_of_several_axes() -> None:
    x = ops.convert_to_tensor(random.standard_normal((2, 3, 2)))
    with gpunn.GradientTape(persistent=True) as tape:
        tape.watch(x)
        y = ops.swapaxes(x, 1, 2) ** 3
        total = ops.sum(y)
        late = y * 2
    slopes = 3 * x.numpy() ** 2
    whole = tape.jacobian(y, x).numpy()
    samples = tape.batch_jacobian(y, x).numpy()
    assert whole.shape == (2, 2, 3, 2, 3, 2) and samples.shape == (2, 2, 3, 3, 2)
    for b in range(2):
        assert_allclose(whole[b, :, :, b], samples[b], **TIGHT)
        assert not whole[b, :, :, 1 - b].any()
        for i in range(3):
            for j in range(2):
                expected = np.zeros((3, 2))
                expected[i, j] = slopes[b, i, j]
                assert_allclose(samples[b, j, i], expected, **TIGHT)
    assert_allclose(tape.jacobian(total, x).numpy(), slopes, **TIGHT)
    assert_allclose(tape.gradient(total, x).numpy(), slopes, **TIGHT)
    assert_allclose(tape.batch_jacobian(late, y).numpy().reshape(2, 6, 6), [2 * np.eye(6)] * 2)


def test_of_a_model_by_its_weights_and_its_input(backend: str) -> None:
    gpunn.use_backend(backend)
    gpunn.utils.set_random_seed(0)
    chain = [layers.Input((3,)), layers.Dense(4, "tanh"), layers.Dense(2)]
    model = gpunn.Sequential(chain, dtype="float64")
    a, b, c, d = map(numbers, model.get_weights())
    x = ops.convert_to_tensor(X)
    with gpunn.GradientTape(persistent=True) as tape:
        tape.watch(x)
        y = model(x)
    found = tape.jacobian(y, model.trainable_variables)
    expected = torch.func.jacrev(
        lambda a, b, c, d: torch.tanh(numbers(X) @ a + b) @ c + d, (0, 1, 2, 3)
    )(a, b, c, d)
    for one, other in zip(found, expected, strict=True):
        assert_allclose(one.numpy(), other.numpy(), **TIGHT)
    slopes = (1 - torch.tanh(numbers(X) @ a + b) ** 2)[:, None] * c.T  # (samples, 2, hidden)
    assert_allclose(tape.batch_jacobian(y, x).numpy(), slopes @ a.T, **TIGHT)


@pytest.mark.parametrize("way", ["jacobian", "batch_jacobian"])
def test_inside_an_outer_tape_it_is_differentiated_again(every_backend: str, way: str) -> None:
    gpunn.use_backend(every_backend)
    x, w = ops.convert_to_tensor(X), gpunn.Variable(W)
    with gpunn.GradientTape() as outer:
        with gpunn.GradientTape() as inner:
            inner.watch(x)
            y = ours(x, w)
        penalty = ops.sum(getattr(inner, way)(y, x) ** 2)
    found = outer.gradient(penalty, w)

    def torchs(w: Any) -> Any:  # the samples do not depend on each other
        return (torch.func.jacrev(theirs)(numbers(X), w) ** 2).sum()

    assert float(penalty) == pytest.approx(torchs(numbers(W)).item(), rel=1e-10)
    assert_allclose(found.numpy(), torch.func.grad(torchs)(numbers(W)).numpy(), **TIGHT)


def test_a_hessian_by_two_tapes_is_that_of_a_function() -> None:
    x = ops.convert_to_tensor(X[0])
    with gpunn.GradientTape() as outer:
        outer.watch(x)
        with gpunn.GradientTape() as inner:
            inner.watch(x)
            y = ops.sum(ops.sin(x) * x[::-1])
        slope = inner.gradient(y, x)
    expected = gpunn.hessian(lambda x: ops.sum(ops.sin(x) * x[::-1]))(X[0])
    assert_allclose(outer.jacobian(slope, x).numpy(), expected.numpy(), **TIGHT)
    assert np.abs(expected.numpy()).max() > 0.1


def test_inside_a_call_it_is_part_of_each_step(backend: str) -> None:
    class Sloped(layers.Layer):
        def build(self, input_shape: Any) -> None:
            self.w = self.add_weight((3, 2), name="w")

        def call(self, x: Any) -> Any:
            with gpunn.GradientTape(persistent=True) as tape:
                tape.watch(x)
                y = ours(x, self.w)
            whole, samples = tape.jacobian(y, x), tape.batch_jacobian(y, x)
            return ops.concatenate([ops.sum(whole, (2, 3)), ops.sum(samples, 2)], 1)

    gpunn.utils.set_random_seed(0)
    model = gpunn.Sequential([layers.Input((3,)), Sloped()], dtype="float64", backend=backend)
    model.compile(gpunn.optimizers.SGD(0.1), "mse")
    w = torch.tensor(model.get_weights()[0], requires_grad=True)
    out = torch.func.jacrev(theirs)(numbers(X), w).sum((2, 3))
    loss = (torch.cat([out, out], 1) ** 2).mean()
    (slope,) = torch.autograd.grad(loss, w)
    found = model.fit(X, np.zeros((4, 4)), batch_size=4, verbose=0).history["loss"][0]
    assert found == pytest.approx(loss.item(), rel=1e-10)
    assert_allclose(model.get_weights()[0], (w - 0.1 * slope).detach().numpy(), **TIGHT)


def test_what_is_not_connected_is_none_or_zeros_as_in_tensorflow() -> None:
    x, z = ops.convert_to_tensor(X), ops.convert_to_tensor(X[:, :2])
    v = gpunn.Variable(np.ones(5))  # which is not read at all
    with gpunn.GradientTape(persistent=True) as tape:
        tape.watch([x, z])
        y = x * 2.0
    assert tape.jacobian(y, z) is None and tape.jacobian(y, [v]) == [None]
    found = tape.jacobian(y, (z, v), unconnected_gradients="zero")
    assert found[0].shape == (4, 3, 4, 2) and found[1].shape == (4, 3, 5)
    assert not found[0].numpy().any() and not found[1].numpy().any()
    for unconnected in ("none", "zero"):
        found = tape.batch_jacobian(y, z, unconnected)
        assert found.shape == (4, 3, 2) and not found.numpy().any()
    found = tape.jacobian(y, x, parallel_iterations=2, experimental_use_pfor=False)
    assert_allclose(found.numpy().reshape(12, 12), 2 * np.eye(12))


def test_of_nothing_it_has_a_shape() -> None:
    x = ops.convert_to_tensor(X)
    with gpunn.GradientTape(persistent=True) as tape:
        tape.watch(x)
        y, none = x[:, :0] * 2.0, x[:0] * 2.0
    assert tape.jacobian(y, x).shape == (4, 0, 4, 3)
    assert tape.batch_jacobian(y, x).shape == (4, 0, 3)
    assert tape.jacobian(none, x).shape == (0, 3, 4, 3)


def test_through_a_layer_that_defines_passes_on_arrays(backend: str) -> None:
    gpunn.use_backend(backend)
    cubed, x = Cubed(), ops.convert_to_tensor(X, "float32")
    cubed(X)
    with gpunn.GradientTape(persistent=True) as tape:
        tape.watch(x)
        y = cubed(x)
        inside = tape.jacobian(y, x)
    expected = np.diag(3 * X.ravel() ** 2)
    assert_allclose(inside.numpy().reshape(12, 12), expected, 1e-5)
    assert_allclose(tape.jacobian(y, x).numpy().reshape(12, 12), expected, 1e-5)
    assert_allclose(tape.gradient(y, x).numpy(), 3 * X**2, 1e-5)


def test_what_a_tape_has_drawn_is_not_drawn_again() -> None:
    """Its results are known numbers in functions that are differentiated later."""
    with gpunn.GradientTape():
        noise = gpunn.random.normal((50,))
    value, found = gpunn.value_and_grad(lambda x: ops.sum(x**2 * noise))(np.ones(50))
    assert float(value) == pytest.approx(noise.numpy().sum(), rel=1e-12)
    assert_allclose(found.numpy(), 2 * noise.numpy())


def test_each_error_says_what_to_do() -> None:
    x = ops.convert_to_tensor(X)
    with pytest.raises(RuntimeError, match="compute inside `with tape:`"):
        gpunn.GradientTape().jacobian(x, x)
    with gpunn.GradientTape() as tape:
        tape.watch(x)
        y, row = x * 2.0, x[0] * 2.0
    with pytest.raises(TypeError, match=r"jacobian: target must be one.*a list.*persist"):
        tape.jacobian([y, y], x)
    with pytest.raises(TypeError, match="cannot see through NumPy: the target is a ndarray"):
        tape.jacobian(X, x)
    with pytest.raises(TypeError, match="the target is a tensor of int32"):
        tape.jacobian(ops.argmax(x), x)
    with pytest.raises(TypeError, match="cannot see through NumPy and Python numbers"):
        tape.jacobian(y, [X])
    with pytest.raises(ValueError, match=r"unconnected_gradients must be one of.*got 'zeros'"):
        tape.jacobian(y, x, "zeros")
    with pytest.raises(TypeError, match=r"batch_jacobian: source must be.*a list.*one source"):
        tape.batch_jacobian(y, [x])
    with pytest.raises(TypeError, match="batch_jacobian: target must be one tensor; got a tuple"):
        tape.batch_jacobian((y,), x)
    with pytest.raises(ValueError, match=r"the same length.*\(3,\) and \(4, 3\).*expand_dims"):
        tape.batch_jacobian(row, x)
    with pytest.raises(ValueError, match=r"the same length.*\(2, 3\) and \(4, 3\)"):
        tape.batch_jacobian(y[:2], x)
    with pytest.raises(ValueError, match=r"was not watched: call tape\.watch\(x\)"):
        tape.jacobian(y, ops.convert_to_tensor(X))
    assert tape.jacobian(y, x).shape == (4, 3, 4, 3)  # what is refused does not use it up
    for derivative in (tape.jacobian, tape.batch_jacobian, tape.gradient):
        with pytest.raises(RuntimeError, match="persistent=True"):
            derivative(y, x)
