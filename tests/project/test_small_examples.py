"""Examples of networks small enough to follow, with figures checked against known values."""

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import huber

import gpunn
from gpunn.datasets import toy

pytestmark = pytest.mark.checks("examples")

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    before = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("backprop"))
    try:
        return runpy.run_path(str(EXAMPLES / "lessons" / "backprop_by_hand.py"))
    finally:
        os.chdir(before)


@pytest.fixture
def backend(backend):
    """The backend of examples, which name none."""
    gpunn.use_backend(backend)
    return backend


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
    """1/N sum 1/2 ||y - F(x)||^2 and the number of correctly classified points, in plain NumPy."""
    a = np.asarray(x, np.float64)
    weights = [w.astype(np.float64) for w in model.get_weights()]
    for kernel, bias in zip(weights[::2], weights[1::2], strict=True):
        a = 1 / (1 + np.exp(-(a @ kernel + bias)))
    wanted = np.eye(2)[classes]
    right = (a.argmax(1) == classes).sum()
    return 0.5 * np.sum((wanted - a) ** 2) / len(x), right


@pytest.mark.parametrize(
    ("rate", "seed"), [(1.0, 2), pytest.param(0.05, 0, marks=pytest.mark.more)]
)
def test_ten_points_and_the_eleventh(example, rate, seed, capsys):
    names = example("ten_points")
    assert names["make_network"](seed).count_params() == 23
    for x, classes in (toy.ten_points(), toy.eleven_points()):
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
    """Return the error of a model's gradients relative to central differences of its loss."""
    weights = model.get_weights()
    model.train_on_batch(x, y)  # the gradients at the previous weights
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


class TestComputationalGraph:
    """f = sigmoid(w0 x0 + w1 x1 + w2): df/dw0 = f (1 - f) x0, and so on."""

    @pytest.mark.parametrize("head", ["small_nodes", "sigmoid"])
    def test_a_graph_gives_the_derivatives(self, example, head):
        names = example("computational_graph")
        found, end = names["gradients"](names[head])
        (w0, w1, _), (x0, x1) = names["W"], names["X"]
        slope = end.value * (1 - end.value)
        assert round(end.value, 2) == 0.73
        np.testing.assert_allclose(
            found, [slope * x0, slope * x1, slope, slope * w0, slope * w1], rtol=1e-12
        )
        assert np.round(found, 2).tolist() == [-0.20, -0.39, 0.20, 0.39, -0.59]

    def test_the_library_gives_the_same(self, example):
        names = example("computational_graph")
        found, _ = names["gradients"](names["small_nodes"])
        np.testing.assert_allclose(names["by_library"](), found, rtol=1e-12)

    def test_a_node_that_is_read_twice_gets_both_shares(self, example):
        names = example("computational_graph")
        x = names["Node"]("x", 3.0)
        y = names["add"]("y", names["multiply"](x, x), x)
        names["backward"](y)
        assert x.gradient == 2 * 3.0 + 1


def test_different_starts_end_at_different_costs(example):
    learn = example("many_starts")["learn"]
    costs = [learn(*toy.ten_points(), seed, 4000, 2.0) for seed in (1, 2, 3)]
    (low, none), *others = costs
    assert low < 1e-3 and none == 0
    assert min(cost for cost, _ in others) > 50 * low
    assert len({round(cost, 3) for cost, _ in costs}) == 3


def test_half_of_the_points_are_in_the_ball(example):
    x, y = example("boundaries")["ball"](7)
    assert abs(y.mean() - 0.5) < 4 * 0.5 / np.sqrt(len(y))
    assert np.linalg.norm(x[y == 1], axis=1).max() < np.linalg.norm(x[y == 0], axis=1).min()


@pytest.mark.parametrize("name", ["spirals", "rings", "split"])
def test_a_hidden_layer_learns_what_no_line_does(example, name):
    names = example("boundaries")
    points, new = (names["PROBLEMS"][name](seed) for seed in (0, 1))
    line, network = (names["learn"](*points, hidden, 150) for hidden in ((), (32, 32)))
    assert network.evaluate(*new, verbose=0)[1] > 0.95
    assert line.evaluate(*new, verbose=0)[1] < 0.75


class TestDescent:
    def test_a_rate_above_two_by_the_curvature_runs_away(self, example):
        """On y^2 10 / 2, a step multiplies by 1 - 10 rate."""
        names = example("descent")
        for rate, steps in ((0.01, 40), (0.15, 40), (0.205, 14)):
            optimizer = gpunn.optimizers.SGD(rate)
            path = names["descend"](optimizer, names["bowl_slope"], (-4.0, 1.0), steps)
            n = np.arange(steps + 1)
            expected = np.column_stack([-4 * (1 - rate) ** n, (1 - 10 * rate) ** n])
            np.testing.assert_allclose(path, expected, rtol=1e-9, atol=1e-12)

    def test_slopes_are_those_of_their_surfaces(self, example):
        names = example("descent")
        surfaces = [(names["bowl"], names["bowl_slope"]), (names["valley"], names["valley_slope"])]
        surfaces += [(surface, slope) for _, surface, slope, *_ in names["LANDSCAPES"]]
        step = 1e-6
        for surface, slope in surfaces:
            for x, y in np.random.default_rng(0).normal(size=(5, 2)):
                by_x = (surface(x + step, y) - surface(x - step, y)) / (2 * step)
                by_y = (surface(x, y + step) - surface(x, y - step)) / (2 * step)
                np.testing.assert_allclose(slope(x, y), [by_x, by_y], rtol=1e-5, atol=1e-7)

    def test_only_momentum_leaves_plateau_and_local_minimum(self, example):
        names = example("descent")
        for _, surface, slope, start, lowest, _ in names["LANDSCAPES"]:
            ends = []
            for momentum in (0.0, 0.9):
                optimizer = gpunn.optimizers.SGD(0.05, momentum)
                ends.append(surface(*names["descend"](optimizer, slope, start, 150)[-1]))
            assert ends[0] > lowest + 0.01 and ends[1] < lowest + names["NEAR"]


class TestLearningRates:
    def test_lecuns_rule_evens_out_what_a_step_does(self, example):
        """Less for the last layer, with larger gradients and many inputs; more for the first."""
        names = example("learning_rates")
        x, y = toy.moons(1000, noise=0.1)
        ratios, rates = {}, {}
        for multiplier in (1.0, "lecun"):
            model = names["make_network"](gpunn.optimizers.SGD(0.1), multiplier)
            monitor = gpunn.callbacks.GradientMonitor(frequency=1, verbose=0)
            model.fit(x, y, batch_size=50, epochs=1, verbose=0, callbacks=[monitor])
            ratios[multiplier] = [record["update_ratio"] for record in monitor.records]
            rates[multiplier] = [layer.kernel.multiplier for layer in model.layers]
            sizes = [layer.count_params() for layer in model.layers]
            gradients = [r["gradient_norm"] for r in monitor.records] / np.sqrt(sizes)  # per weight
        assert gradients[-1] > max(gradients[1:-1])
        np.testing.assert_allclose(rates["lecun"], np.array([2, 8, 16, 64]) ** -0.5, rtol=1e-12)
        first, last = (ratios["lecun"][i] / ratios[1.0][i] for i in (0, -1))
        assert last < 0.25 < first

    def test_momentum_of_one_half_then_nine_tenths(self, example):
        names = example("learning_rates")
        schedule = names["s"].PiecewiseConstantDecay([names["CHANGE"]], [0.5, 0.9])
        x, y = toy.moons(1000, noise=0.1)
        models = [
            names["make_network"](gpunn.optimizers.SGD(names["RATE"], momentum))
            for momentum in (0.5, schedule)
        ]
        losses = [
            model.fit(x, y, batch_size=50, epochs=20, verbose=0).history["loss"] for model in models
        ]
        assert losses[0][:10] == losses[1][:10] and losses[1][-1] < losses[0][-1]


def test_naive_formulas_overflow_and_ours_do_not(example, capsys):
    names = example("overflow")
    with np.errstate(all="ignore"):
        for part in ("overflow", "underflow", "rounding"):
            names[part]()
    rows = re.findall(r"(\S+) +(\S+) +(\S+)\n", capsys.readouterr().out)
    figures = np.array([row for row in rows if row[2] != "true"], np.float64)
    naive, ours, true = figures.T
    assert len(figures) == 9
    np.testing.assert_allclose(ours, true, rtol=2e-7)
    assert not np.isfinite(naive[:6]).any()
    assert (np.abs(naive[6:] / true[6:] - 1) > 1e-3).all()


class TestWiring:
    def test_a_layer_learns_from_the_inputs_it_is_connected_with(self, example, backend):
        names = example("wiring")
        model = names["not_all_connected"]()
        assert model.backend.name == backend
        assert model.layers[0].count_params() == 32 + 16 and model.count_params() == 337
        a, b, _, same = names["draw"](64, seed=0)
        start = model.layers[0].kernel.numpy()
        model.fit(np.hstack([a, b]), same, epochs=3, verbose=0)
        kernel = model.layers[0].kernel.numpy()
        assert (kernel[:2, 8:] == 0).all() and (kernel[2:, :8] == 0).all()
        assert (kernel[:2, :8] != start[:2, :8]).all() and (kernel[2:, 8:] != start[2:, 8:]).all()

    def test_the_order_of_the_points_is_nothing_to_the_shared_reader(self, example):
        names = example("wiring")
        gpunn.utils.set_random_seed(0)
        model = names["two_inputs_and_outputs"](names["point_reader"]())
        assert model.count_params() == 184 + 272 + 17 + 9  # the reader counts once
        a, b, ring, same = names["draw"](100, seed=0)
        model.train_on_batch([a, b], [same, ring])
        before = model.predict([a, b])
        np.testing.assert_array_equal(before[0], model.predict([b, a])[0])
        model.fit([a, b], [same, ring], epochs=5, verbose=0)
        after = model.predict([a, b])
        assert np.abs(after[0] - before[0]).max() > 0.01
        np.testing.assert_array_equal(after[0], model.predict([b, a])[0])

    def test_frozen_weights_keep_their_bits(self, example, backend):
        names = example("wiring")
        gpunn.utils.set_random_seed(0)
        a, _, ring, _ = names["draw"](64, seed=0)
        assert names["freeze_and_thaw"](names["point_reader"](), a, ring) == [0, 184]

    def test_shortcuts_let_twenty_layers_learn(self, example):
        names = example("wiring")
        a, _, ring, _ = names["draw"](600, seed=3)
        plain, shortcut = (names["deep"](shortcuts) for shortcuts in (False, True))
        for model in (plain, shortcut):
            model.fit(a, ring, epochs=60, verbose=0)
        assert plain.evaluate(a, ring, verbose=0)[1] < 0.6
        assert shortcut.evaluate(a, ring, verbose=0)[1] > 0.95


class TestLosses:
    def test_the_best_single_answers(self, example):
        names = example("losses")
        numbers = names["NUMBERS"]
        found = {name: names["best_answer"](loss) for name, loss in names["ERRORS"].items()}

        def least(loss):
            return minimize_scalar(lambda c: loss(numbers - c).sum(), bounds=(0, 30)).x

        expected = {
            "mean squared": numbers.mean(),
            "mean absolute": np.median(numbers),
            "Huber": least(lambda r: huber(1, r)),
            "log-cosh": least(lambda r: np.logaddexp(r, -r)),
            "absolute percentage": 2,
            "squared logarithmic": np.expm1(np.log1p(numbers).mean()),
            "Poisson": numbers.mean(),
        }
        assert found == pytest.approx(expected, abs=0.006)

    def test_smoothing_asks_for_its_share(self, example):
        wanted = example("losses")["wanted_chance"]
        assert wanted(0.3) == pytest.approx(1 - 0.3 * 2 / 3, abs=1e-3)


class TestFirstWeights:
    def test_weights_have_the_deviation_of_the_rule(self, example):
        names = example("first_weights")
        for name, (make, deviation) in names["DRAWN"].items():
            drawn = make((names["INPUTS"], names["UNITS"]))
            # The deviation of n normal draws is off by one part in sqrt(2 n).
            assert drawn.std() == pytest.approx(deviation, rel=0.02, abs=1e-7), name

    def test_only_a_rule_that_fits_keeps_a_signal_alive(self, example):
        through = example("first_weights")["after_twenty"]
        assert 0.3 < through("HeNormal", "relu")[-1] < 3
        assert 0.05 < through("GlorotNormal", "tanh")[-1] < 0.5
        lost = through("RandomNormal", "relu")
        assert lost[-1] < 1e-8 and all(np.diff(lost) < 0)


@pytest.mark.parametrize(("name", "status"), [("perceptron", 0), ("descent", 1)])
def test_without_matplotlib_an_example_says_what_to_install(name, status, tmp_path):
    (tmp_path / "matplotlib.py").write_text("raise ImportError('there is none')")
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "lessons" / f"{name}.py")], cwd=tmp_path, text=True,
        capture_output=True,
        env=os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{EXAMPLES.parent}"},
    )  # fmt: skip
    assert done.returncode == status, done.stderr
    said = (done.stderr if status else done.stdout).splitlines()[-1]
    assert said.endswith('pip install "gpunn[plot]"') and "Traceback" not in done.stderr
    assert not [*tmp_path.glob("*.png")]
