"""The example files: run as a reader runs them, and held to figures from elsewhere."""

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import emulated  # noqa: F401  (makes the backend known)
import numpy as np
import pytest

import gpunn
from gpunn import registry

EXAMPLES = Path(__file__).parents[1] / "examples"

# Arguments that make each one short, and what it must print then.
SHORT = {
    "backprop_by_hand": (
        "",
        ["h = 0.59326999", "o = 0.75136506", "error = 0.29837110", "10000 steps"],
    ),
    "custom_layer": (
        "",
        ["agree with finite differences", r"accuracy 0\.9[5-9]", "the same: True"],
    ),
    "mnist_classic": ("", ["Total params: 13,002", r"5/5 .*val_loss", r"accuracy: 0\.9[2-5]"]),
    "mnist_mlp": ("--epochs 1 --out m.gpunn", [r"accuracy 0\.9[5-7]", "a 7 is read as 7"]),
    "ten_points": (
        "--rate 1 --seed 2",
        ["Total params: 23", "10 points\nsolved", "11 points\nsolved"],
    ),
    "xor": ("", ["0 xor 1 = 0.99", "1 xor 1 = 0.00", "26 parameters", "20 parameters"]),
}


def test_every_example_is_run_here():
    assert sorted(SHORT) == sorted(path.stem for path in EXAMPLES.glob("*.py"))


@pytest.fixture
def example(monkeypatch, tmp_path):
    """Runs an example in this process, in an empty folder; returns its names."""
    # A class that an example registers stays out of the tables of the other tests.
    for tables in ("_kinds", "_aliases"):
        copy = {kind: dict(table) for kind, table in getattr(registry, tables).items()}
        monkeypatch.setattr(registry, tables, copy)
    monkeypatch.chdir(tmp_path)

    def run(name, *arguments):
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        return runpy.run_path(str(EXAMPLES / f"{name}.py"))

    return run


@pytest.mark.parametrize("name", sorted(SHORT))
def test_as_a_script(name, mnist, tmp_path):
    arguments, expected = SHORT[name]
    done = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLES / f"{name}.py", *arguments.split()],
        cwd=tmp_path,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    text = re.sub(r"\nstep.*", "", done.stdout)
    for pattern in expected:
        assert re.search(pattern, text), f"{pattern!r} is not in\n{done.stdout}"
    assert max(map(len, done.stdout.splitlines())) <= 80
    if name == "mnist_classic":
        assert sorted(p.name for p in (tmp_path / "logs").iterdir()) == ["train", "validation"]


def test_the_classic_script_needs_no_change_but_its_import():
    text = (EXAMPLES / "mnist_classic.py").read_text(encoding="utf-8")
    assert re.findall(".*gpunn.*", text.split('"""')[2]) == ["import gpunn as tf"]


@pytest.mark.slow
def test_the_classic_script_reaches_its_accuracy(mnist, example):
    """PyTorch with the same initialisation reaches 0.942, one seed's spread being 0.004."""
    (_, _), (x_test, y_test) = mnist
    accuracies = []
    for seed in range(5):
        gpunn.utils.set_random_seed(seed)
        model = example("mnist_classic")["model"]
        accuracies.append((model.predict(x_test / 255.0).argmax(1) == y_test).mean())
    assert np.mean(accuracies) >= 0.938, accuracies


@pytest.mark.slow
def test_the_mlp_reaches_its_accuracy(mnist, example):
    """PyTorch with the same initialisation reaches 0.9773, one seed's spread being 0.0014."""
    (_, _), (x_test, y_test) = mnist
    accuracies, losses = [], []
    for seed in range(5):
        model = example("mnist_mlp", "--seed", str(seed))["model"]
        accuracies.append((model.predict(x_test).argmax(1) == y_test).mean())
        losses.append(model.history.history["loss"])
    assert np.mean(accuracies) >= 0.976, accuracies
    # What one published run of such a network logged in the first and the fifth epoch.
    np.testing.assert_allclose(np.mean(losses, 0)[[0, 4]], [0.2982, 0.0777], rtol=0.1)


@pytest.fixture(scope="module")
def names():
    return runpy.run_path(str(EXAMPLES / "backprop_by_hand.py"))


class TestBackpropByHand:
    """The figures are those of the worked example; e was rounded there."""

    def test_forward(self, names):
        h, o, error = names["h"], names["o"], names["error"]
        assert (h.dtype, o.dtype) == (np.float64, np.float64)
        np.testing.assert_allclose(h, [0.5932699921052087, 0.5968843782577157], rtol=0, atol=1e-9)
        np.testing.assert_allclose(o, [0.7513650695475076, 0.772928465316421], rtol=0, atol=1e-9)
        assert error == pytest.approx(0.29837110875753253, rel=0, abs=1e-9)

    def test_gradients(self, names):
        by_hand = names["by_hand"]
        np.testing.assert_allclose(names["by_library"], [*by_hand.values()], rtol=0, atol=1e-12)
        assert by_hand["w5"] == pytest.approx(0.082167041, abs=1e-9)
        assert by_hand["w1"] == pytest.approx(0.000438568, abs=1e-9)

    def test_descent(self, names):
        assert names["first"] < names["error"]
        assert names["last"] < 4e-5

    def test_descent_with_the_biases_held_as_in_the_original(self, names):
        model, x, target = names["model"], names["x"], names["target"]
        hidden, output = model.layers
        hidden.kernel.assign(names["hidden_kernel"])
        output.kernel.assign(names["output_kernel"])
        for step in range(10_001):
            hidden.bias.assign([0.35, 0.35])
            output.bias.assign([0.60, 0.60])
            error = model.train_on_batch(x, target)
            if step == 0:
                w = [*hidden.kernel.numpy().T.flat, *output.kernel.numpy().T.flat]
        stepped = [0.149780716, 0.19956143, 0.24975114, 0.29950229]
        stepped += [0.35891648, 0.408666186, 0.511301270, 0.561370121]
        np.testing.assert_allclose(w, stepped, rtol=0, atol=5e-9)
        assert error == pytest.approx(0.0000351085, rel=5e-4)  # give or take a few steps


def cost_of(model, x, classes):
    """1/N sum 1/2 ||y - F(x)||^2 and the number of points on their side, in plain NumPy."""
    a = np.asarray(x, np.float64)
    weights = [w.astype(np.float64) for w in model.get_weights()]
    for kernel, bias in zip(weights[::2], weights[1::2], strict=True):
        a = 1 / (1 + np.exp(-(a @ kernel + bias)))
    wanted = np.eye(2)[classes]
    right = (a.argmax(1) == classes).sum()
    return 0.5 * np.sum((wanted - a) ** 2) / len(x), right


@pytest.mark.parametrize(
    ("rate", "seed"), [(1.0, 2), pytest.param(0.05, 0, marks=pytest.mark.slow)]
)
def test_ten_points_and_the_eleventh(example, rate, seed, capsys):
    names = example("ten_points")
    assert names["make_network"](seed).count_params() == 23
    ten = np.array([names["X1"], names["X2"]]).T
    eleven = np.vstack([ten, [0.3, 0.7]])
    for x, classes in ((ten, [0] * 5 + [1] * 5), (eleven, [0] * 5 + [1] * 6)):
        model, watch = names["solve"](x, classes, seed, rate)
        cost, right = cost_of(model, x, classes)
        assert cost < 1e-3 and right == len(x)
        assert watch.cost == pytest.approx(cost, rel=1e-4)
        assert watch.steps == model.optimizer.iterations <= 2_000_000


@pytest.mark.parametrize("hidden", [2, 8])
def test_xor(example, hidden):
    names = example("xor")
    model = names["learn"](hidden, seed=1)
    assert model.output_shape == (None, 1)
    assert model.count_params() == 2 * hidden + hidden + hidden + 1
    answers = model.predict([[0, 0], [0, 1], [1, 0], [1, 1]])[:, 0]
    np.testing.assert_allclose(answers, [0, 1, 1, 0], atol=0.01)


def test_parameters_of_three_four_two(example):
    make = example("xor")["three_four_two"]
    assert make(use_bias=True).count_params() == 26
    assert make(use_bias=False).count_params() == 20


def largest_difference(model, x, y, step=1e-5):
    """Between the gradients of a model's weights and central differences of its loss."""
    weights = model.get_weights()
    model.train_on_batch(x, y)  # the gradients of the weights as they were before
    gradients = list(model.gradients().values())
    worst = 0.0
    for weight, gradient in zip(weights, gradients, strict=True):
        for i in np.ndindex(weight.shape):
            value = weight[i]
            losses = []
            for moved in (value + step, value - step):
                weight[i] = moved
                model.set_weights(weights)
                losses.append(model.test_on_batch(x, y)[0])
            weight[i] = value
            difference = (losses[0] - losses[1]) / (2 * step)
            worst = max(worst, abs(difference - gradient[i]))
    model.set_weights(weights)
    return worst


class TestCustomLayer:
    @pytest.fixture(params=["numpy", "emulated"])
    def backend(self, request):
        gpunn.use_backend(request.param)
        yield request.param
        gpunn.use_backend("auto")

    def test_formula(self, example, backend):
        layer = example("custom_layer")["Swish"](start=0.7, dtype="float64")
        x = np.linspace(-800, 800, 30).reshape(10, 3)
        with np.errstate(over="ignore"):
            expected = x / (1 + np.exp(-0.7 * x))
        np.testing.assert_allclose(layer(x), expected, rtol=1e-12, atol=1e-12)

    def test_gradients(self, example, backend):
        names = example("custom_layer")
        gpunn.utils.set_random_seed(1)
        model = names["make_model"]("float64")
        assert model.backend.name == backend
        x, y = names["ring"](7, np.random.default_rng(2))
        assert largest_difference(model, x, y) < 1e-9

    def test_training_and_files(self, example, backend, tmp_path):
        names = example("custom_layer")
        gpunn.utils.set_random_seed(0)
        x, y = names["ring"](300, np.random.default_rng(0))
        model = names["make_model"]("float64")
        start = model.layers[1].get_weights()[0]
        losses = model.fit(x, y, epochs=10, verbose=0).history["loss"]
        assert losses[-1] < 0.98 * losses[0]
        assert np.all(model.layers[1].get_weights()[0] != start)
        model.save(tmp_path / "ring.gpunn")
        loaded = gpunn.saving.load_model(tmp_path / "ring.gpunn")
        assert isinstance(loaded.layers[1], names["Swish"])
        np.testing.assert_array_equal(loaded.predict(x), model.predict(x))
