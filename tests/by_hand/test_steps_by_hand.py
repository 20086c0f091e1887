"""`GradientTape` and `Optimizer.apply`: training steps that are written by hand."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from properties.allocated import growth
from small_models import Cubed

import gpunn
from gpunn import layers, ops
from gpunn.ops.trace import current

pytestmark = pytest.mark.usefixtures("doubles")
random = np.random.default_rng(0)
X, Y = random.standard_normal((12, 3)), random.standard_normal((12, 1))


def network(*chain: Any, inputs: int = 3) -> Any:
    gpunn.utils.set_random_seed(0)
    model = gpunn.Sequential([layers.Input((inputs,)), *chain], dtype="float64")
    model.get_weights()  # which draws them
    return model


def as_torch(model: Any) -> list[torch.Tensor]:
    return [torch.tensor(w.numpy(), requires_grad=True) for w in model.trainable_weights]


def test_a_loop_trains_as_in_pytorch(every_backend: str) -> None:
    gpunn.use_backend(every_backend)
    model = network(layers.Dense(5, "tanh"), layers.Dense(4, "softmax"))
    labels = random.integers(0, 4, 12)
    loss = gpunn.losses.SparseCategoricalCrossentropy()
    optimizer = gpunn.optimizers.SGD(0.5, momentum=0.9)
    a, b, c, d = weights = as_torch(model)
    torchs = torch.optim.SGD(weights, lr=0.5, momentum=0.9)
    for rows in (slice(0, 5), slice(5, 10), slice(10, 12)) * 2:  # the last batch is a short one
        with gpunn.GradientTape() as tape:
            value = loss(labels[rows], model(X[rows], training=True))
        slopes = tape.gradient(value, model.trainable_variables)
        optimizer.apply_gradients(zip(slopes, model.trainable_variables, strict=True))
        logits = torch.tanh(torch.tensor(X[rows]) @ a + b) @ c + d
        expected = torch.nn.functional.cross_entropy(logits, torch.tensor(labels[rows]))
        torchs.zero_grad()
        expected.backward()
        torchs.step()
        assert float(value) == pytest.approx(expected.item(), rel=1e-10)
    for one, other in zip(model.get_weights(), weights, strict=True):
        assert_allclose(one, other.detach().numpy(), rtol=1e-8, atol=1e-10)


def test_two_networks_against_each_other_train_as_in_pytorch() -> None:
    maker = network(layers.Dense(4, "relu"), layers.Dense(3))
    judge = network(layers.Dense(5, "leaky_relu"), layers.Dense(1))
    loss = gpunn.losses.BinaryCrossentropy(from_logits=True)
    optimizers = [gpunn.optimizers.SGD(0.1, momentum=0.5) for _ in range(2)]
    of_maker, of_judge = as_torch(maker), as_torch(judge)
    torchs = [torch.optim.SGD(w, lr=0.1, momentum=0.5) for w in (of_maker, of_judge)]
    noise = random.standard_normal((3, 12, 3))

    def made(z: torch.Tensor) -> torch.Tensor:
        a, b, c, d = of_maker
        return torch.relu(z @ a + b) @ c + d

    def judged(x: torch.Tensor) -> torch.Tensor:
        a, b, c, d = of_judge
        return torch.nn.functional.leaky_relu(x @ a + b, 0.2) @ c + d

    logits_loss = torch.nn.functional.binary_cross_entropy_with_logits
    zeros, ones = torch.zeros(12, 1, dtype=torch.float64), torch.ones(12, 1, dtype=torch.float64)
    for z in noise:
        with gpunn.GradientTape() as for_maker, gpunn.GradientTape() as for_judge:
            fake = maker(z, training=True)
            real_answer, fake_answer = judge(X, training=True), judge(fake, training=True)
            makers = loss(np.ones((12, 1)), fake_answer)
            judges = loss(np.ones((12, 1)), real_answer) + loss(np.zeros((12, 1)), fake_answer)
        slopes = for_maker.gradient(makers, maker.trainable_variables)
        others = for_judge.gradient(judges, judge.trainable_variables)
        optimizers[0].apply(slopes, maker.trainable_variables)
        optimizers[1].apply(others, judge.trainable_variables)
        given = made(torch.tensor(z))
        answer = judged(given)
        total = logits_loss(judged(torch.tensor(X)), ones) + logits_loss(answer, zeros)
        of = [torch.autograd.grad(logits_loss(answer, ones), of_maker, retain_graph=True),
              torch.autograd.grad(total, of_judge)]  # fmt: skip
        for weights, found, step in zip((of_maker, of_judge), of, torchs, strict=True):
            for w, g in zip(weights, found, strict=True):
                w.grad = g
            step.step()
    for model, weights in ((maker, of_maker), (judge, of_judge)):
        for one, other in zip(model.get_weights(), weights, strict=True):
            assert_allclose(one, other.detach().numpy(), rtol=1e-9, atol=1e-12)


def test_a_gradient_penalty_is_that_of_pytorch() -> None:
    model = network(layers.Dense(5, "silu"), layers.Dense(1))
    a, b, c, d = weights = as_torch(model)
    x = ops.convert_to_tensor(X)
    with gpunn.GradientTape() as outer:
        with gpunn.GradientTape() as inner:
            inner.watch(x)
            y = model(x)
        slopes = inner.gradient(y, x)
        penalty = ops.mean((ops.sqrt(ops.sum(slopes**2, axis=1)) - 1) ** 2)
    found = outer.gradient(penalty, model.trainable_variables)
    given = torch.tensor(X, requires_grad=True)
    z = torch.nn.functional.silu(given @ a + b) @ c + d
    (torchs,) = torch.autograd.grad(z.sum(), given, create_graph=True)
    expected = ((torchs.square().sum(1).sqrt() - 1) ** 2).mean()
    assert float(penalty) == pytest.approx(expected.item(), rel=1e-12)
    wanted: Any = torch.autograd.grad(expected, weights, allow_unused=True)
    for one, other in zip(found, wanted, strict=True):
        if other is None:  # the last bias
            assert one is None or not np.any(one)
        else:
            assert_allclose(np.asarray(one), other.numpy(), rtol=1e-9, atol=1e-12)


def test_structures_and_what_is_not_connected() -> None:
    x, z = ops.convert_to_tensor([1.0, 2.0]), ops.convert_to_tensor([5.0])
    v = gpunn.Variable([3.0, 4.0])
    with gpunn.GradientTape(persistent=True) as tape:
        tape.watch([x, z])
        y = x * v
        late = y * 2
    found = tape.gradient({"a": y, "b": [late]}, {"v": v, "others": (x, z)})
    assert found["v"].tolist() == [3.0, 6.0] and found["others"][0].tolist() == [9.0, 12.0]
    assert found["others"][1] is None
    (zeros,) = tape.gradient(y, [z], unconnected_gradients="zero")
    assert zeros.tolist() == [0.0]
    assert tape.gradient(y, x, output_gradients=[1.0, 10.0]).tolist() == [3.0, 40.0]
    assert tape.gradient(late, y).tolist() == [2.0, 2.0]
    assert (y + 1).tolist() == [4.0, 9.0] and current() is None  # afterwards they are tensors


def test_losses_state_and_variables() -> None:
    normal, penalized = layers.BatchNormalization(momentum=0.5), gpunn.regularizers.L2(0.5)
    model = network(layers.Dense(2, kernel_regularizer=penalized, use_bias=False), normal)
    kernel, count = model.layers[0].kernel, gpunn.Variable(0.0)
    with gpunn.GradientTape() as tape:
        y = model(X, training=True)
        count.assign_add(2.0)
        assert float(count) == 2.0
        total = sum(model.losses)
    assert_allclose(tape.gradient(total, kernel).numpy(), kernel.numpy(), rtol=1e-12)
    hidden = X @ kernel.numpy()
    assert_allclose(normal.moving_mean.numpy(), 0.5 * hidden.mean(axis=0), rtol=1e-10, atol=1e-12)
    assert_allclose(np.asarray(y).mean(axis=0), 0, atol=1e-12)


def test_a_variable_that_is_assigned_to_is_read_as_itself() -> None:
    """As in TensorFlow: no gradient flows through what is assigned."""
    v, model = gpunn.Variable([1.0, 2.0]), network(layers.BatchNormalization(momentum=0.5))
    before = model.get_weights()
    with gpunn.GradientTape(persistent=True) as tape:
        early = ops.sum(v * 2.0)
        v.assign(v * 10.0)
        late = ops.sum(v**2)
        weights = model.trainable_variables, model.non_trainable_variables
        _, after = model.stateless_call(*weights, X, training=True)
    assert v.numpy().tolist() == [10.0, 20.0]
    assert tape.gradient(early, v).tolist() == [2.0, 2.0]
    assert tape.gradient(late, v).tolist() == [20.0, 40.0]
    assert tape.gradient([early, late], v).tolist() == [22.0, 42.0]
    for one, other in zip(model.get_weights(), before, strict=True):
        assert_array_equal(one, other)
    assert_allclose(after[0].numpy(), 0.5 * X.mean(axis=0), rtol=1e-12, atol=1e-12)


def test_a_tape_records_what_happens_in_its_block() -> None:
    """As in TensorFlow: what was computed before, in an outer tape too, is constant to it."""
    w = gpunn.Variable(3.0)
    with gpunn.GradientTape() as outer:
        early = w * 2.0
        with gpunn.GradientTape(persistent=True) as inner:
            y = early * w * w
        assert inner.gradient(y, w).item() == 2 * 6.0 * 3.0
        with inner:
            z = early * w
            again = w * 2.0  # the same operation as before, now inside
        assert inner.gradient(z, w).item() == 6.0 and inner.gradient(again, w).item() == 2.0
        assert inner.gradient(early, w) is None
    assert outer.gradient(y, w).item() == 3 * 2 * 9.0


UNARY = {
    "tanh": (ops.tanh, torch.tanh), "sin": (ops.sin, torch.sin), "relu": (ops.relu, torch.relu),
    "sigmoid": (ops.sigmoid, torch.sigmoid), "square": (ops.square, torch.square),
    "silu": (gpunn.activations.silu, torch.nn.functional.silu),
    "softmax": (gpunn.activations.softmax, lambda x: torch.softmax(x, -1)),
}  # fmt: skip
BINARY = {
    "add": (ops.add, torch.add), "subtract": (ops.subtract, torch.subtract),
    "multiply": (ops.multiply, torch.multiply), "logaddexp": (ops.logaddexp, torch.logaddexp),
}  # fmt: skip
CONSTANT = random.standard_normal((4, 4)) / 2


def drawn_program(seed: int) -> list[tuple[Any, ...]]:
    """Draw operations, reads of values that decide, assignments, and a gradient inside."""
    draw = np.random.default_rng(seed)
    steps: list[tuple[Any, ...]] = []
    for count in range(2, 2 + int(draw.integers(4, 14))):
        a, b, kind = int(draw.integers(count)), int(draw.integers(count)), draw.random()
        if kind < 0.4:
            steps.append(("unary", str(draw.choice([*UNARY])), a))
        elif kind < 0.7:
            steps.append(("binary", str(draw.choice([*BINARY])), a, b))
        elif kind < 0.8:
            steps.append(("product", a))
        elif kind < 0.87:
            steps.append(("turned", a))
        elif kind < 0.94:
            steps.append(("decided", a, b))
        else:
            steps.append(("assigned", int(draw.integers(2)), a))
    return steps


def run_program(steps: Any, which: int, variables: Any, read: Any, assign: Any) -> Any:
    """Run it with the functions of one library; each step gives one tensor."""
    made = [read(v) for v in variables]
    for kind, *of in steps:
        if kind == "unary":
            made.append(UNARY[of[0]][which](made[of[1]]))
        elif kind == "binary":
            made.append(BINARY[of[0]][which](made[of[1]], made[of[2]]))
        elif kind == "product":
            made.append(made[of[0]] @ (CONSTANT if which == 0 else torch.tensor(CONSTANT)))
        elif kind == "turned":
            x = made[of[0]]
            made.append(x - x.mean(0) if which else x - ops.mean(x, 0))
        elif kind == "decided":
            one, other = made[of[0]], made[of[1]]
            made.append(one * 2.0 if one[0, 0].item() > other[1, 1].item() else other + 1.0)
        else:
            assign(variables[of[0]], made[of[1]])
            made.append(read(variables[of[0]]))
    return made[-1]


@pytest.mark.parametrize("first", range(0, 200, 50))
def test_random_programs_are_differentiated_as_in_pytorch(first: int) -> None:
    """On NumPy and on the compiled kernels, in turn."""
    gpunn.use_backend("compiled" if first % 100 else "numpy")
    for seed in range(first, first + 50):
        steps = drawn_program(seed)
        start = np.random.default_rng(seed).uniform(-1, 1, (2, 3, 4))
        own = [gpunn.Variable(v) for v in start]
        others = [torch.tensor(v, requires_grad=True) for v in start]

        def assign(variable: torch.Tensor, value: torch.Tensor) -> None:
            variable.now = variable + (value - variable).detach()  # type: ignore[attr-defined]

        with gpunn.GradientTape() as outer:
            with gpunn.GradientTape() as inner:
                y = run_program(
                    steps, 0, own, ops.convert_to_tensor, lambda v, value: v.assign(value)
                )
                total = ops.sum(y * y)
            slopes = inner.gradient(total, own, unconnected_gradients="zero")
            again = sum(ops.sum(ops.square(slope)) for slope in slopes)
        found = outer.gradient(again, own, unconnected_gradients="zero")
        z = run_program(steps, 1, others, lambda v: getattr(v, "now", v) * 1.0, assign)
        expected = (z * z).sum()
        ones = torch.autograd.grad(expected, others, create_graph=True, allow_unused=True)
        ones = [torch.zeros_like(v) if g is None else g for g, v in zip(ones, others, strict=True)]
        squares = sum((g**2).sum() for g in ones)
        twice: Any = [None, None]
        if squares.requires_grad:
            twice = torch.autograd.grad(squares, others, allow_unused=True)
        assert_allclose(
            np.asarray(total), expected.item(), rtol=1e-9, atol=1e-12, err_msg=f"{seed} {steps}"
        )
        for one, other in zip([*slopes, *found], [*ones, *twice], strict=True):
            wanted = np.zeros((3, 4)) if other is None else other.detach().numpy()
            scale = max(1.0, np.abs(wanted).max())
            assert_allclose(
                np.asarray(one) / scale, wanted / scale, atol=1e-9, err_msg=f"{seed} {steps}"
            )


def test_ifs_and_loops_see_values() -> None:
    w = gpunn.Variable(1.0)
    for _ in range(3):
        with gpunn.GradientTape() as tape:
            y = w * 1.0
            steps = 0
            while y < 5.0:
                y, steps = y * 2.0, steps + 1
            loss = y if steps % 2 else -y
        w.assign_sub(0.01 * tape.gradient(loss, w))
    assert float(w) == pytest.approx(1 - 3 * 0.08)


def test_one_tape_in_each_of_several_threads() -> None:
    model = network(layers.Dense(4, "tanh"), layers.Dense(1))

    def slopes(seed: int) -> Any:
        x = np.random.default_rng(seed).standard_normal((6, 3))
        for _ in range(5):
            with gpunn.GradientTape() as tape:
                loss = ops.mean(model(x) ** 2)
            found = tape.gradient(loss, model.trainable_variables)
        return [np.asarray(g) for g in found]

    alone = [slopes(seed) for seed in range(8)]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(slopes, range(8)))
    for one, other in zip(alone, together, strict=True):
        for a, b in zip(one, other, strict=True):
            assert_array_equal(a, b)


def test_fit_predict_and_metrics_work_beside_a_tape() -> None:
    model, other = network(layers.Dense(2)), network(layers.Dense(1))
    other.compile("sgd", "mse")
    mean, accuracy = gpunn.metrics.Mean(), gpunn.metrics.SparseCategoricalAccuracy()
    labels = random.integers(0, 2, 12)
    with gpunn.GradientTape() as tape:
        y = model(X)
        loss = ops.mean(y**2)
        mean.update_state(loss)
        accuracy.update_state(labels, y)
        assert_allclose(other.predict(X, verbose=0), other(X).numpy(), rtol=1e-12)
        other.fit(X, Y, epochs=1, verbose=0)
    assert float(mean.result()) == float(loss)
    assert float(accuracy.result()) == np.mean(np.argmax(np.asarray(y), 1) == labels)
    slopes = tape.gradient(loss, model.trainable_variables)
    wanted = X.T @ (2 * np.asarray(y) / 24)
    assert_allclose(slopes[0].numpy(), wanted, rtol=1e-12)


@pytest.mark.parametrize("names", [("numpy", "emulated"), ("emulated", "compiled")])
def test_a_model_of_another_backend_trains(names: tuple[str, str]) -> None:
    """The tape computes on the default backend; weights stay where they are."""
    weights = []
    for chosen in (names, names[:1] * 2):
        gpunn.use_backend(chosen[0])
        gpunn.utils.set_random_seed(0)
        model = network(layers.Dense(4, "tanh"), layers.BatchNormalization(), layers.Dense(1))
        optimizer = gpunn.optimizers.Adam(0.1)
        gpunn.use_backend(chosen[1])
        for _ in range(3):
            with gpunn.GradientTape() as tape:
                loss = ops.mean((model(X, training=True) - Y) ** 2)
            slopes = tape.gradient(loss, model.trainable_variables)
            optimizer.apply(slopes, model.trainable_variables)
        assert model.backend.name == names[0]
        weights.append(model.get_weights())
    for one, other in zip(*weights, strict=True):
        assert_allclose(one, other, rtol=1e-9, atol=1e-11)
    own = network(Cubed())
    gpunn.use_backend(names[1])
    with pytest.raises(ValueError, match=r"another backend.*use_backend"), gpunn.GradientTape():
        own(X)


def test_an_exception_leaves_nothing_behind() -> None:
    x = ops.convert_to_tensor(2.0)
    with pytest.raises(ZeroDivisionError), gpunn.GradientTape() as tape:
        tape.watch(x)
        raise ZeroDivisionError
    assert current() is None and (x * 2).item() == 4.0
    model = network(layers.Dense(1))
    assert model.predict(X, verbose=0).shape == (12, 1)


def test_dropout_differs_from_step_to_step_and_repeats_with_the_seed() -> None:
    model = network(layers.Dropout(0.5))

    def kept() -> list[Any]:
        gpunn.utils.set_random_seed(3)
        found = []
        for _ in range(2):
            with gpunn.GradientTape():
                found.append(np.asarray(model(X, training=True)))
        return found

    first, second = kept()
    assert np.any(first != second)
    assert_array_equal([first, second], kept())


@pytest.mark.parametrize("optimizer", ["Adam", "SGD", "RMSprop", "AdamW", "Adagrad"])
def test_a_step_by_hand_is_that_of_fit(optimizer: str) -> None:
    def made() -> Any:
        mask = np.array([[1, 0, 1], [1, 1, 0], [0, 1, 1]])
        first = layers.Dense(
            3, "tanh", connections=mask, kernel_constraint=gpunn.constraints.MaxNorm(0.8)
        )
        return network(first, layers.Dense(1, learning_rate_multiplier=0.5))

    fitted, by_hand = made(), made()
    by_hand.set_weights(fitted.get_weights())
    rules = [getattr(gpunn.optimizers, optimizer)(0.05, clipnorm=0.5) for _ in range(2)]
    fitted.compile(rules[0], "mse")
    fitted.fit(X, Y, batch_size=12, epochs=4, shuffle=False, verbose=0)
    for _ in range(4):
        rules[1].minimize(
            lambda: gpunn.losses.MeanSquaredError()(Y, by_hand(X)), by_hand.trainable_variables
        )
    assert rules[1].iterations == 4
    for one, other in zip(by_hand.get_weights(), fitted.get_weights(), strict=True):
        assert_allclose(one, other, rtol=1e-9, atol=1e-12)


def test_each_error_says_what_to_do() -> None:
    model, x = network(layers.Dense(1)), ops.convert_to_tensor(X)
    weights = model.trainable_variables
    with pytest.raises(RuntimeError, match="compute inside `with tape:`"):
        gpunn.GradientTape().gradient(x, weights)
    with gpunn.GradientTape() as tape:
        y = model(x)
        numbers = np.square(np.asarray(y)).mean()
    with pytest.raises(TypeError, match="cannot see through NumPy: the target is a float"):
        tape.gradient(numbers, weights)
    with gpunn.GradientTape() as tape:
        y = model(x)
    with pytest.raises(ValueError, match=r"was not watched: call tape\.watch\(x\)"):
        tape.gradient(y, x)
    with gpunn.GradientTape() as tape:
        y = model(x)
    tape.gradient(y, weights)
    with pytest.raises(RuntimeError, match="persistent=True"):
        tape.gradient(y, weights)
    with gpunn.GradientTape() as tape:
        y = model(x)
    with pytest.raises(TypeError, match="cannot see through NumPy and Python numbers"):
        tape.gradient(y, X)
    with gpunn.GradientTape() as tape:
        with pytest.raises(TypeError, match="watch takes tensors; got ndarray"):
            tape.watch(X)
        with pytest.raises(RuntimeError, match="already recording"):
            tape.__enter__()
        with pytest.raises(TypeError, match="by floats; got a tensor of int32"):
            tape.watch(ops.convert_to_tensor([1, 2]))
    cubed = Cubed()
    cubed(X)
    with gpunn.GradientTape() as tape:
        y = cubed(x)
    with pytest.raises(ValueError, match=r"cubed.*defines its passes.*value_and_grad"):
        tape.gradient(y, cubed.factor)
    optimizer = gpunn.optimizers.SGD(0.1)
    with pytest.raises(ValueError, match="There are no gradients for any of dense"):
        optimizer.apply_gradients((None, w) for w in weights)
    kernel, bias = (w.numpy() for w in weights)
    with pytest.warns(UserWarning, match=r"no gradients for dense\w*/bias"):
        optimizer.apply_gradients([(np.ones((3, 1)), weights[0]), (None, weights[1])])
    assert_allclose(weights[0].numpy(), kernel - 0.1)
    assert_array_equal(weights[1].numpy(), bias)
    with pytest.raises(ValueError, match="do not fit"):
        optimizer.apply([np.ones(3)], weights)


class Doubtful(gpunn.Model):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.dense = layers.Dense(3)

    def call(  # type: ignore[override]
        self, x: Any, is_training: bool = False, scale: Any = 1.0
    ) -> Any:
        x = self.dense(x) * scale
        return x if is_training else ops.softmax(x)


def test_a_call_with_arguments_of_its_own(backend: str) -> None:
    gpunn.use_backend(backend)
    model = Doubtful(dtype="float64")
    logits = model(X, is_training=True)
    kernel, bias = (w.numpy() for w in model.weights)
    assert_allclose(logits, X @ kernel + bias, rtol=1e-12)
    assert isinstance(logits, ops.Tensor)
    assert_allclose(model(X, scale=2.0).sum(axis=1), 1, rtol=1e-12)
    with gpunn.GradientTape() as tape:
        loss = ops.sum(model(X, is_training=True, scale=ops.convert_to_tensor(3.0)))
    (found,) = tape.gradient(loss, [model.weights[0]])
    assert_allclose(found.numpy(), np.repeat(3 * X.sum(axis=0)[:, None], 3, axis=1), rtol=1e-12)
    with pytest.raises(TypeError, match="unexpected keyword argument 'is_trainin'"):
        model(X, is_trainin=True)
    plain = network(layers.Dense(1))
    with pytest.raises(TypeError, match="takes x and training; got is_training"):
        plain(X, is_training=True)


def test_what_a_gpu_computes_stays_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step reads nothing but what it is asked for: forward, backward and the update."""
    gpunn.use_backend("emulated")
    model = network(layers.Dense(5, "tanh"), layers.Dropout(0.5), layers.Dense(1))
    optimizer, read = gpunn.optimizers.Adam(0.1), []
    before = [w.numpy() for w in model.weights]
    backend = gpunn.get_backend()
    original = type(backend).read

    def recorded(self: Any, array: Any) -> np.ndarray:
        read.append(array.shape)
        return original(self, array)

    monkeypatch.setattr(type(backend), "read", recorded)
    with gpunn.GradientTape(persistent=True) as tape:
        loss = ops.mean(ops.square(model(X, training=True) - Y))
        twice = loss * 2.0
    slopes = tape.gradient(loss, model.trainable_variables)
    scaled = [slope * 0.5 for slope in tape.gradient(twice, model.trainable_variables)]
    optimizer.apply(scaled, model.trainable_variables)
    assert not read
    assert float(loss) > 0
    assert read == [()]
    for one, other in zip(slopes, scaled, strict=True):
        assert_allclose(one, other, rtol=1e-12)
    for now, then in zip(model.get_weights(), before, strict=True):
        assert (now != then).any()


@pytest.mark.in_turn(2)
def test_batches_of_many_lengths_leave_nothing_behind(backend: str) -> None:
    gpunn.use_backend(backend)
    model = network(layers.Dense(4, "relu"), layers.Dropout(0.5), layers.Dense(4, "softmax"))
    loss, optimizer = gpunn.losses.SparseCategoricalCrossentropy(), gpunn.optimizers.Adam()

    sizes = iter(range(1000, 1016))

    def step() -> None:
        rows = next(sizes)
        with gpunn.GradientTape() as tape:
            value = loss(np.arange(rows) % 4, model(np.ones((rows, 3)), training=True))
        optimizer.apply(tape.gradient(value, model.trainable_variables), model.trainable_variables)

    assert growth(step, 15) < 200_000


@pytest.mark.parametrize("is_persistent", [False, True])
def test_what_an_earlier_tape_has_computed_is_constant(is_persistent: bool) -> None:
    x = ops.array([0.5, 1.0, 2.0])

    def slope(x: Any) -> Any:
        with gpunn.GradientTape(persistent=is_persistent) as first:
            first.watch(x)
            t = ops.tanh(x)
            before = ops.sum(t * x)
        with gpunn.GradientTape(persistent=is_persistent) as second:
            second.watch(x)
            y = ops.sum(t * x)
        return second.gradient(y, x), first.gradient(before, x)

    compiled = gpunn.function(slope)
    for found in (slope(x), *(compiled(x) for _ in range(3))):
        tanh = np.tanh(np.asarray(x))
        np.testing.assert_allclose(found[0], tanh, rtol=1e-6)
        np.testing.assert_allclose(found[1], tanh + (1 - tanh**2) * np.asarray(x), rtol=1e-6)
