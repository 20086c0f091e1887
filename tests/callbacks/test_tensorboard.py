"""Test `TensorBoard`: its files are read back with TensorBoard's own reader."""

import json
import subprocess
import sys
from types import MappingProxyType, SimpleNamespace

import numpy as np
import pytest

import gpunn
from gpunn import callbacks, layers

KERNEL = np.linspace(-1.0, 3.0, 6, dtype=np.float32).reshape(2, 3)


def board_model():
    weight = SimpleNamespace(path="dense/kernel", numpy=lambda: KERNEL)
    config = {
        "name": "sequential",
        "layers": [
            {"class_name": "Dense", "config": {"name": name, "dtype": "float32"}}
            for name in ("dense", "dense_1")
        ],
    }
    return SimpleNamespace(
        stop_training=False,
        optimizer=SimpleNamespace(learning_rate=0.5, iterations=0),
        _trainer=SimpleNamespace(batches=0),
        layers=[SimpleNamespace(name="dense", weights=[weight])],
        gradients=lambda: {"dense/kernel": KERNEL / 2},
        last_activations=lambda: {"dense": np.ones((4, 2)) @ KERNEL},
        get_config=lambda: config,
    )


def board(folder, epochs=3, validation=True, **arguments):
    """A run of ``epochs`` epochs of 4 steps, with a loss of 1 / step."""
    board = callbacks.CallbackList(callbacks.TensorBoard(folder, **arguments), model=board_model())
    optimizer = board.model.optimizer
    board.on_train_begin()
    for epoch in range(epochs):
        board.on_epoch_begin(epoch)
        for batch in range(4):
            optimizer.iterations += 1
            board.model._trainer.batches += 1
            loss = 1 / optimizer.iterations
            board.on_train_batch_end(batch, MappingProxyType({"loss": loss}))
        logs = {"loss": 1 / optimizer.iterations, "accuracy": epoch / 10}
        if validation:
            board.on_test_begin()
            board.on_test_end({"loss": 2.0})
            logs["val_loss"] = 2.0
        board.on_epoch_end(epoch, logs)
    board.on_train_end(logs)


def events(folder):
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator"
    ).EventAccumulator(str(folder), size_guidance={"histograms": 0, "scalars": 0})
    accumulator.Reload()
    return accumulator


def scalars(folder, tag):
    return [(event.step, pytest.approx(event.value)) for event in events(folder).Scalars(tag)]


def test_tensorboard_writes_what_keras_writes(tmp_path):
    board(tmp_path)
    assert set(events(tmp_path / "train").Tags()["scalars"]) == {
        "epoch_loss", "epoch_accuracy", "epoch_learning_rate",
    }  # fmt: skip
    assert set(events(tmp_path / "validation").Tags()["scalars"]) == {
        "epoch_loss", "evaluation_loss_vs_iterations",
    }  # fmt: skip
    assert scalars(tmp_path / "train", "epoch_loss") == [(0, 1 / 4), (1, 1 / 8), (2, 1 / 12)]
    assert scalars(tmp_path / "train", "epoch_learning_rate") == [(0, 0.5), (1, 0.5), (2, 0.5)]
    iterations = scalars(tmp_path / "validation", "evaluation_loss_vs_iterations")
    assert iterations == [(4, 2.0), (8, 2.0), (12, 2.0)]


def test_tensorboard_without_validation_writes_none(tmp_path):
    board(tmp_path, validation=False)
    assert [entry.name for entry in tmp_path.iterdir()] == ["train"]


@pytest.mark.parametrize(("freq", "steps"), [("batch", range(1, 9)), (3, (3, 6))])
def test_tensorboard_of_batches(tmp_path, freq, steps):
    board(tmp_path, epochs=2, update_freq=freq, write_steps_per_second=True)
    assert scalars(tmp_path / "train", "batch_loss") == [(step, 1 / step) for step in steps]
    for tag in ("batch_steps_per_second", "epoch_steps_per_second"):
        assert all(event.value > 0 for event in events(tmp_path / "train").Scalars(tag))


def test_tensorboard_histograms_are_of_weights_gradients_and_activations(tmp_path):
    board(tmp_path, histogram_freq=2, write_images=True)
    train = events(tmp_path / "train")
    assert set(train.Tags()["histograms"]) == {
        "dense/kernel/histogram", "dense/kernel/gradient", "dense/activations",
    }  # fmt: skip
    expected: dict[str, np.ndarray] = {
        "dense/kernel/histogram": KERNEL,
        "dense/kernel/gradient": KERNEL / 2,
        "dense/activations": np.ones((4, 2)) @ KERNEL,
    }
    for tag, values in expected.items():
        first, second = train.Histograms(tag)
        assert (first.step, second.step) == (0, 2)
        held = first.histogram_value
        assert (held.num, held.min, held.max) == (values.size, values.min(), values.max())
        assert held.sum == pytest.approx(values.sum(), abs=1e-6)
        assert held.sum_squares == pytest.approx((values**2).sum())
    image = train.Images("dense/kernel/image")[0]
    assert (image.width, image.height) == (3, 2)


def test_tensorboard_in_fit(tmp_path):
    model = gpunn.Sequential(
        [
            gpunn.Input((3,)),
            gpunn.layers.Dense(4, "relu", name="a"),
            gpunn.layers.Dense(2, name="b"),
        ]
    )
    model.compile("sgd", "mse", metrics=["mse"])
    x, y = np.ones((8, 3)), np.zeros((8, 2))
    writer = callbacks.TensorBoard(tmp_path, 1)
    history = model.fit(x, y, validation_data=(x, y), epochs=2, verbose=0, callbacks=[writer])
    train = events(tmp_path / "train")
    weights = ["a/kernel", "a/bias", "b/kernel", "b/bias"]
    assert set(train.Tags()["histograms"]) == {
        *(f"{path}/{kind}" for path in weights for kind in ("histogram", "gradient")),
        "a/activations",
        "b/activations",
    }
    last = train.Histograms("b/kernel/histogram")[1].histogram_value
    assert last.sum == pytest.approx(float(model.get_weights()[2].sum()), rel=1e-5)
    for run, prefix in (("train", ""), ("validation", "val_")):
        written = scalars(tmp_path / run, "epoch_loss")
        assert written == list(enumerate(history.history[f"{prefix}loss"]))


def test_tensorboard_counts_batches_where_gradients_are_accumulated(tmp_path):
    model = gpunn.Sequential([gpunn.Input((3,)), gpunn.layers.Dense(1)])
    model.compile(gpunn.optimizers.SGD(gradient_accumulation_steps=3), "mse")
    x, y = np.ones((20, 3)), np.zeros((20, 1))
    writer = callbacks.TensorBoard(tmp_path, update_freq=2)
    model.fit(x, y, batch_size=4, epochs=2, verbose=0, callbacks=[writer])
    assert [step for step, _ in scalars(tmp_path / "train", "batch_loss")] == [2, 4, 6, 8, 10]


def test_tensorboard_draws_the_layers(tmp_path):
    keras_util = pytest.importorskip("tensorboard.plugins.graph.keras_util")
    board(tmp_path)
    tensor = events(tmp_path / "train").Tensors("keras")[0].tensor_proto
    graph = keras_util.keras_model_to_graph_def(json.loads(tensor.string_val[0]))
    assert [(node.name, list(node.input)) for node in graph.node] == [
        ("sequential/dense", []),
        ("sequential/dense_1", ["sequential/dense"]),
    ]
    plugin = events(tmp_path / "train").summary_metadata["keras"].plugin_data
    assert (plugin.plugin_name, plugin.content) == ("graph_keras_model", b"1")


def test_tensorboard_without_its_extra_is_one_clear_line(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    writer = callbacks.TensorBoard(tmp_path)
    writer.set_model(board_model())
    with pytest.raises(ImportError, match=r'pip install "gpunn\[tensorboard\]"$'):
        writer.on_train_begin()


@pytest.mark.in_turn(2)
def test_tensorboard_needs_no_tensorflow_and_is_imported_late(tmp_path):
    script = (
        "import sys, gpunn\n"
        "from gpunn import callbacks\n"
        "board = callbacks.TensorBoard(sys.argv[1], write_graph=False)\n"
        "assert 'tensorboardX' not in sys.modules\n"
        "board.on_train_begin()\n"
        "board.on_train_end()\n"
        "assert 'tensorflow' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script, tmp_path], check=True)


def test_tensorboard_refuses_what_it_cannot_show():
    with pytest.raises(ValueError, match="embeddings_freq must be 0"):
        callbacks.TensorBoard(embeddings_freq=1)


@pytest.mark.parametrize("batches", [2, (100, 200)])
def test_tensorboard_says_where_a_profile_is(batches):
    with pytest.warns(UserWarning, match=r"is ignored\. `gpunn doctor --step"):
        callbacks.TensorBoard(profile_batch=batches)


def test_tensorboard_of_a_model_with_a_step_of_its_own(tmp_path):
    class Own(gpunn.Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(1)

        def train_step(self, data):
            with gpunn.GradientTape() as tape:
                loss = gpunn.ops.mean(gpunn.ops.square(data[1] - self.dense(data[0])))
            weights = self.dense.trainable_variables
            self.optimizer.apply(tape.gradient(loss, weights), weights)
            return {"loss": loss}

    model = Own()
    model.compile("sgd")
    board = callbacks.TensorBoard(tmp_path, write_graph=False, update_freq=2)
    model.fit(np.ones((8, 2)), np.ones((8, 1)), batch_size=2, epochs=2, verbose=0,
              callbacks=[board])
    assert list(tmp_path.rglob("events*"))
