"""Test the reports of GradientMonitor against hand-computed figures and known training problems."""

import csv
import glob

import numpy as np
import pytest

import gpunn
from gpunn import callbacks, layers
from gpunn.callbacks import GradientMonitor

RATE = 0.1


def data(rows=24, inputs=3, outputs=2, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(rows, inputs)), rng.normal(size=(rows, outputs))


def chain(depth, activation, scale=None, width=8, backend=None, outputs=2):
    """``depth`` hidden layers; kernels normal with deviation scale / sqrt(inputs)."""
    gpunn.utils.set_random_seed(0)
    initial = "glorot_uniform"
    if scale is not None:
        initial = gpunn.initializers.VarianceScaling(scale**2, "fan_in", "untruncated_normal")
    model = gpunn.Sequential([layers.Input((3,))], dtype="float64", backend=backend)
    for i in range(depth):
        model.add(layers.Dense(width, activation, kernel_initializer=initial, name=f"hidden_{i}"))
    model.add(layers.Dense(outputs, kernel_initializer=initial, name="output"))
    model.compile(gpunn.optimizers.SGD(RATE), "half_squared_error")
    return model


def test_figures(backend):
    """A single layer y = x w, so that each figure is one line of NumPy."""
    x, y = data(rows=8, outputs=2)
    model = gpunn.Sequential([layers.Input((3,))], dtype="float64", backend=backend)
    model.add(layers.Dense(2, use_bias=False, name="only"))
    model.compile(gpunn.optimizers.SGD(RATE), "half_squared_error")
    w = model.get_weights()[0]
    monitor = GradientMonitor(frequency=1, verbose=0)
    model.fit(x, y, batch_size=8, epochs=1, verbose=0, callbacks=[monitor])
    gradient = x.T @ (x @ w - y) / 8
    stepped = w - RATE * gradient
    [record] = monitor.records
    assert (record["epoch"], record["batch"], record["layer"]) == (0, 0, "only")
    assert record["gradient_norm"] == pytest.approx(np.linalg.norm(gradient), rel=1e-12)
    assert record["weight_norm"] == pytest.approx(np.linalg.norm(stepped), rel=1e-12)
    ratio = RATE * np.linalg.norm(gradient) / np.linalg.norm(stepped)
    assert record["update_ratio"] == pytest.approx(ratio, rel=1e-9)
    assert record["dead"] is None and record["saturated"] is None
    assert monitor.findings == []


def test_it_looks_at_the_last_step_of_an_epoch(backend):
    x, y = data(rows=20)
    model = chain(1, "tanh", backend=backend)
    monitor = GradientMonitor(frequency=2, verbose=0)
    model.fit(x, y, batch_size=8, epochs=5, verbose=0, callbacks=[monitor])
    assert [(r["epoch"], r["batch"]) for r in monitor.records[::2]] == [(0, 2), (2, 2), (4, 2)]
    last = model.gradients()  # of the last step
    norms = [np.sqrt(sum(np.sum(g**2) for p, g in last.items() if p.startswith(f"{name}/")))
             for name in (layer.name for layer in model.layers)]  # fmt: skip
    np.testing.assert_allclose([r["gradient_norm"] for r in monitor.records[-2:]], norms)


def test_training_is_the_same_with_it(backend):
    x, y = data(rows=100)
    weights = []
    for watched in (False, True):
        model = chain(2, "relu", backend=backend)
        monitors = [GradientMonitor(frequency=1, verbose=0)] if watched else []
        model.fit(x, y, batch_size=8, epochs=3, verbose=0, callbacks=monitors)
        weights.append(model.get_weights())
    for a, b in zip(*weights, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("activation", ["relu", "hard_silu"])  # judged by its output, by its input
def test_units_that_are_dead(activation):
    x, y = data()
    model = chain(1, activation, width=4)
    model.layers[0].bias.assign([-100.0, 0.0, -100.0, -100.0])
    monitor = GradientMonitor(frequency=1, verbose=0)
    model.fit(x, y, batch_size=24, verbose=0, callbacks=[monitor])
    assert monitor.records[0]["dead"] == 0.75
    assert monitor.findings[0] == "Epoch 1: dead: 75% of the units of 'hidden_0'."


@pytest.mark.parametrize(("activation", "limit"), [("sigmoid", 0.01), ("tanh", 0.04)])
def test_outputs_that_are_saturated(activation, limit):
    x, y = data(rows=24)
    model = chain(1, activation, scale=3.0, width=16)
    monitor = GradientMonitor(frequency=1, verbose=0)
    kernel, bias, *_ = model.get_weights()
    z = x @ kernel + bias
    slope = np.exp(-z) / (1 + np.exp(-z)) ** 2 if activation == "sigmoid" else np.cosh(z) ** -2.0
    model.fit(x, y, batch_size=24, verbose=0, callbacks=[monitor])
    assert 0 < monitor.records[0]["saturated"] < 1
    assert monitor.records[0]["saturated"] == pytest.approx(np.mean(slope < limit))


def test_vanishing_in_twenty_sigmoid_layers(backend, capsys):
    """Each layer multiplies the error by at most a quarter of its weights."""
    x, y = data()
    model = chain(20, "sigmoid", backend=backend)
    monitor = GradientMonitor()
    model.fit(x, y, batch_size=24, epochs=2, verbose=0, callbacks=[monitor])
    printed = capsys.readouterr().out
    [finding] = monitor.findings
    assert finding == " ".join(printed.split())
    assert finding.startswith("Epoch 1: vanishing gradients: a weight of 'hidden_0'")
    assert max(map(len, printed.splitlines())) <= 80
    norms = [r["gradient_norm"] for r in monitor.records[:21]]
    assert norms[0] < 1e-9 * norms[-1]


def test_exploding_where_the_weights_are_too_large():
    """Signal and error grow by about 2 per layer: all gradients are as large, none stands out."""
    x, y = data()
    model = chain(20, "linear", scale=2.0)
    monitor = GradientMonitor(verbose=0)
    model.compile(gpunn.optimizers.SGD(1e-30), "half_squared_error")
    model.fit(x, y, batch_size=24, verbose=0, callbacks=[monitor])
    assert all(r["gradient_norm"] > 1e3 * r["weight_norm"] for r in monitor.records)
    [finding] = monitor.findings
    assert finding.startswith("Epoch 1: exploding gradients: that of 'hidden_0' is ")
    assert finding.endswith(" times its weights, and likewise 20 more layers.")


def test_a_step_that_is_too_long():
    x, y = data()
    model = chain(1, "tanh")
    model.compile(gpunn.optimizers.Adam(10.0), "half_squared_error")
    monitor = GradientMonitor(verbose=0)
    model.fit(x, y, batch_size=24, verbose=0, callbacks=[monitor])
    assert "diverging: one step moved '" in monitor.findings[0]


def test_nothing_to_say_of_a_healthy_network():
    x, y = data()
    monitor = GradientMonitor(verbose=0)
    chain(3, "tanh").fit(x, y, batch_size=24, epochs=3, verbose=0, callbacks=[monitor])
    assert monitor.records and monitor.findings == []


def test_files(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    x, y = data()
    model = chain(1, "relu")
    monitor = GradientMonitor(1, tmp_path / "m.csv", tmp_path / "events", verbose=0)
    model.fit(x, y, batch_size=10, epochs=3, verbose=0, callbacks=[monitor])
    with open(tmp_path / "m.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [float(r["gradient_norm"]) for r in rows] == [
        r["gradient_norm"] for r in monitor.records
    ]
    assert rows[1]["dead"] == "" and len(rows) == 6
    events = EventAccumulator(glob.glob(str(tmp_path / "events"))[0])
    events.Reload()
    tag = f"{model.layers[0].name}/update_ratio"
    found = [event.value for event in events.Scalars(tag)]
    np.testing.assert_allclose(found, [r["update_ratio"] for r in monitor.records[::2]], rtol=1e-6)


def test_frozen_layers_are_left_out():
    x, y = data()
    model = chain(2, "relu")
    model.layers[0].trainable = False
    monitor = GradientMonitor(verbose=0)
    model.fit(x, y, verbose=0, callbacks=[monitor])
    assert [r["layer"] for r in monitor.records] == [layer.name for layer in model.layers[1:]]


def test_auto_keeps_to_its_share_of_the_time(monkeypatch):
    """With a clock where an epoch takes 10 s and a check 1 s, one epoch in five is checked."""
    now = [0.0]
    monkeypatch.setattr("gpunn.callbacks.gradient_monitor.time.perf_counter", lambda: now[0])

    class Clock(callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            now[0] += 10.0

    class Slow(GradientMonitor):
        def _judge(self, records):
            now[0] += 1.0

    monitor = Slow(verbose=0)
    x, y = data()
    chain(1, "relu").fit(x, y, epochs=21, verbose=0, callbacks=[monitor, Clock()])
    assert sorted({r["epoch"] for r in monitor.records}) == [0, 5, 10, 15, 20]


def test_it_goes_on_where_it_was(tmp_path):
    x, y = data()
    path = tmp_path / "m.csv"

    class Interrupted(callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise KeyboardInterrupt

    def run(*more):
        monitor = GradientMonitor(1, path, verbose=0)
        backup = callbacks.BackupAndRestore(tmp_path / "backup")
        model = chain(20, "sigmoid")
        model.fit(x, y, epochs=4, verbose=0, callbacks=[monitor, backup, *more])
        return monitor

    with pytest.raises(KeyboardInterrupt):
        run(Interrupted())
    monitor = run()
    assert [r["epoch"] for r in monitor.records[::21]] == [0, 1, 2, 3]
    assert len(monitor.findings) == 1
    assert len(path.read_text(encoding="utf-8").splitlines()) == 1 + 4 * 21


@pytest.mark.parametrize("frequency", [0, -1, 1.5, "often"])
def test_bad_frequency(frequency):
    with pytest.raises((ValueError, TypeError), match="frequency"):
        GradientMonitor(frequency)


def test_layers_inside_a_call_count_as_the_layer_around_them():
    class Outer(layers.Layer):
        def __init__(self):
            super().__init__(name="outer")
            self.inner, self.scale = layers.Dense(3), gpunn.Variable(1.0)

        def call(self, x):
            return self.inner(x) * self.scale

    model = gpunn.Sequential([gpunn.Input((4,)), Outer(), layers.Dense(1, name="last")])
    model.compile("adam", "mse")
    watch = callbacks.GradientMonitor(verbose=0)
    model.fit(np.ones((8, 4)), np.ones((8, 1)), verbose=0, callbacks=[watch])
    assert [record["layer"] for record in watch.records] == ["outer", "last"]
    assert watch.records[0]["gradient_norm"] > 0
