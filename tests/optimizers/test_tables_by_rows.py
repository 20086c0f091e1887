"""Tables of which a step updates only the rows that its batch reads, beside PyTorch's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import emulated
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

import gpunn
from gpunn import callbacks, layers, ops
from gpunn.optimizers import SGD, Adam, AdamW

ROWS, WIDTH, LENGTH = 400, 3, 4
RANDOM = np.random.default_rng(3)
TABLE = RANDOM.standard_normal((ROWS, WIDTH))
X = RANDOM.integers(0, ROWS // 2, (23, LENGTH))  # the other half is never read
X[:, 1] = 7  # several times in each batch
X[5, :] = 9  # and in one sample
Y = RANDOM.standard_normal((23, 1))
OPTIMIZERS: dict[str, Any] = {
    "sgd": lambda: SGD(0.1),
    "lazy": lambda: Adam(0.1, epsilon=1e-12, lazy=True),
    "lazy amsgrad": lambda: Adam(0.1, epsilon=1e-12, amsgrad=True, lazy=True),
}
each_optimizer = pytest.mark.parametrize("name", OPTIMIZERS)


def network(
    optimizer: Any, dtype: str = "float64", backend: Any = None, **options: Any
) -> gpunn.Sequential:
    table = layers.Embedding(ROWS, WIDTH, weights=TABLE, name="table")
    dense = layers.Dense(1, kernel_initializer="ones", name="dense")
    model = gpunn.Sequential(
        [gpunn.Input((LENGTH,), dtype="int32"), table, layers.Flatten(), dense],
        dtype=dtype, backend=backend,
    )  # fmt: skip
    model.compile(optimizer, "mse", **options)
    return model


def fit(model: Any, epochs: int = 2, **options: Any) -> Any:
    return model.fit(X, Y, 8, epochs, shuffle=False, verbose=0, **options)


def pytorchs(lazy: bool) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The table that PyTorch trains, with sparse gradients, and its moments."""
    table = torch.nn.Embedding(ROWS, WIDTH, sparse=True, _weight=torch.tensor(TABLE))
    dense = torch.nn.Linear(LENGTH * WIDTH, 1, dtype=torch.float64)
    torch.nn.init.ones_(dense.weight)
    torch.nn.init.zeros_(dense.bias)
    if lazy:
        first: Any = torch.optim.SparseAdam(table.parameters(), 0.1, eps=1e-12)
        second: Any = torch.optim.Adam(dense.parameters(), 0.1, eps=1e-12)
    else:
        first = torch.optim.SGD(table.parameters(), 0.1)
        second = torch.optim.SGD(dense.parameters(), 0.1)
    for at in [*range(0, 23, 8)] * 2:
        first.zero_grad()
        second.zero_grad()
        y = dense(table(torch.tensor(X[at : at + 8])).flatten(1))
        torch.nn.functional.mse_loss(y, torch.tensor(Y[at : at + 8])).backward()
        first.step()
        second.step()
    moments = first.state[table.weight] if lazy else {}
    of = {"m": "exp_avg", "v": "exp_avg_sq"} if lazy else {}
    return table.weight.detach().numpy(), {k: moments[v].numpy() for k, v in of.items()}


@pytest.mark.parametrize("eagerly", [False, True])
@pytest.mark.parametrize("name", ["sgd", "lazy"])
def test_training_is_pytorchs(every_backend: str, name: str, eagerly: bool, tmp_path: Path) -> None:
    gpunn.use_backend(every_backend)
    model = network(OPTIMIZERS[name](), run_eagerly=eagerly)
    fit(model)
    table, moments = pytorchs(name == "lazy")
    assert_allclose(model.get_weights()[0], table, rtol=1e-9, atol=1e-12)
    found = dict(zip(("m", "v"), model.optimizer.slots_in(model._storage).values(), strict=False))
    for slot, expected in moments.items():
        segment = model._storage.segment(found[slot], model.layers[0].embeddings)
        assert_allclose(model.backend.read(segment), expected, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("mode", ["plain", "fused", "persistent"])
@pytest.mark.parametrize("name", ["sgd", "lazy"])
def test_steps_on_a_gpu_run_in_each_mode(name: str, mode: str) -> None:
    expected = network(OPTIMIZERS[name](), backend="numpy")
    backend = emulated.make_backend()
    backend.launch_mode = mode  # an error unless all of the step are operations
    model = network(OPTIMIZERS[name](), backend=backend)
    for each in (expected, model):
        fit(each)
    for ours, theirs in zip(model.get_weights(), expected.get_weights(), strict=True):
        assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)


@each_optimizer
def test_other_rows_stay_as_they_are(every_backend: str, name: str) -> None:
    gpunn.use_backend(every_backend)
    model = network(OPTIMIZERS[name](), "float32")
    fit(model, 1)
    read = np.isin(np.arange(ROWS), X)
    changed = (model.get_weights()[0] != TABLE.astype("float32")).any(axis=1)
    assert_array_equal(changed, read)
    once = model.get_weights()[0]
    model.fit(X[:1], Y[:1], verbose=0)  # moments of rows of earlier batches move nothing
    changed = (model.get_weights()[0] != once).any(axis=1)
    assert_array_equal(changed, np.isin(np.arange(ROWS), X[:1]))


def test_sgd_gives_the_bits_of_an_update_of_all_rows(every_backend: str) -> None:
    """A limit that nothing exceeds makes it update all rows."""
    gpunn.use_backend(every_backend)
    models = [network(SGD(0.1, clipvalue=limit), "float32") for limit in (None, 1e30)]
    logs = [fit(model).history for model in models]
    assert logs[0] == logs[1]
    for ours, theirs in zip(*(model.get_weights() for model in models), strict=True):
        assert_array_equal(ours, theirs)
    for ours, theirs in zip(*(model.gradients().values() for model in models), strict=True):
        assert_array_equal(ours, theirs)


@pytest.mark.parametrize("size", [8, 23, 200])
def test_gradients_are_those_of_the_last_step(every_backend: str, size: int) -> None:
    gpunn.use_backend(every_backend)
    model, watched = network(Adam(lazy=True)), network(SGD(0.0, momentum=0.5))
    watched.set_weights(model.get_weights())
    x, y = np.resize(X, (size, LENGTH)), np.resize(Y, (size, 1))
    model.fit(X[9:], Y[9:], verbose=0)
    watched.set_weights(model.get_weights())
    for each in (model, watched):
        each.train_on_batch(x, y)
    assert_allclose(
        model.gradients()["table/embeddings"], watched.gradients()["table/embeddings"], atol=1e-15
    )
    stop = [callbacks.StopOnSmallGradient(1e-30) for _ in range(2)]
    for each, callback in zip((model, watched), stop, strict=True):
        each.set_weights(watched.get_weights())
        each.fit(x, y, size, verbose=0, callbacks=[callback])
    assert stop[0].norm == pytest.approx(stop[1].norm, rel=1e-12)


@each_optimizer
def test_training_resumes_and_is_saved(name: str, tmp_path: Path) -> None:
    whole, part = network(OPTIMIZERS[name]()), network(OPTIMIZERS[name]())
    fit(whole, 3)
    fit(part, 1)
    part.save(tmp_path / "m.gpunn")
    again = gpunn.models.load_model(tmp_path / "m.gpunn")
    assert getattr(again.optimizer, "lazy", False) == ("lazy" in name)
    fit(again, 2)
    for ours, theirs in zip(again.get_weights(), whole.get_weights(), strict=True):
        assert_array_equal(ours, theirs)


def test_the_rate_of_the_layer_and_of_a_schedule_apply(every_backend: str) -> None:
    gpunn.use_backend(every_backend)
    rate = gpunn.optimizers.schedules.InverseTimeDecay(0.1, 1, 0.5)
    models = [network(SGD(rate, clipvalue=limit)) for limit in (None, 1e30)]
    for model in models:
        model.layers[0].learning_rate_multiplier = 0.5
        fit(model, 1)
        model.layers[0].trainable = False
        frozen = model.get_weights()[0]
        fit(model, 1)
        assert_array_equal(model.get_weights()[0], frozen)
        model.layers[0].trainable = True
        fit(model, 1)
    for ours, theirs in zip(*(model.get_weights() for model in models), strict=True):
        assert_allclose(ours, theirs, rtol=1e-12)


def test_a_step_touches_only_memory_of_its_rows() -> None:
    """Arrays of zeros get memory when they are first written, in pages of up to 2 MB. Those of the
    gradient and of the moments would have 128 MB each."""

    def resident() -> int:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * 4096

    x = np.random.default_rng(0).integers(0, 50_000, (40, 16))
    for optimizer in (SGD(0.1), Adam(lazy=True)):
        model = gpunn.Sequential(
            [layers.Embedding(1_000_000, 32, "zeros", input_length=16), layers.Flatten(),
             layers.Dense(1)]
        )  # fmt: skip
        model.compile(optimizer, "mse")
        before = resident()
        model.fit(x, np.ones((40, 1)), 8, 2, verbose=0)
        assert resident() - before < 60 << 20
        assert (model.get_weights()[0] != 0).any(axis=1).sum() == np.unique(x).size


class _Twice(layers.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.table = layers.Embedding(ROWS, WIDTH)

    def call(self, x: Any) -> Any:
        return self.table(x) + self.table((x + 1) % ROWS)


def _shared() -> Any:
    table, x = layers.Embedding(ROWS, WIDTH), gpunn.Input((LENGTH,))
    return gpunn.Model(x, layers.Dense(1)(layers.Flatten()(layers.add([table(x), table(x)]))))


def _chain(table: Any) -> Any:
    return gpunn.Sequential([table, layers.Flatten(), layers.Dense(1)])


OBSTACLES: dict[str, tuple[Any, str]] = {
    "a penalty": (
        lambda: _chain(layers.Embedding(ROWS, WIDTH, embeddings_regularizer="l2")), "regularizer"
    ),
    "a constraint": (
        lambda: _chain(layers.Embedding(ROWS, WIDTH, embeddings_constraint="max_norm")),
        "constraint",
    ),
    "two readers": (_shared, "several"),
    "a custom layer": (lambda: _chain(_Twice()), "custom layer"),
}  # fmt: skip


@pytest.mark.parametrize("what", OBSTACLES)
def test_tables_that_have_no_rows_of_their_own(what: str) -> None:
    make, reason = OBSTACLES[what]
    model = make()
    model.compile(Adam(lazy=True), "mse")
    with pytest.raises(ValueError, match=rf"Adam\(lazy=True\) .*{reason}.*lazy"):
        fit(model)
    models = [make(), make()]
    for each, limit in zip(models, (None, 1e30), strict=True):
        each.compile(SGD(0.1, clipvalue=limit), "mse")
        each.build((None, LENGTH))
    models[1].set_weights(models[0].get_weights())
    for each in models:
        fit(each)
    for ours, theirs in zip(*(each.get_weights() for each in models), strict=True):
        assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    "option",
    [{"weight_decay": 0.1}, {"clipnorm": 1.0}, {"use_ema": True}, {"loss_scale_factor": 8.0},
     {"gradient_accumulation_steps": 2}],
    ids=str,
)  # fmt: skip
def test_options_that_concern_all_rows(option: dict[str, Any]) -> None:
    (name,) = option
    with pytest.raises(ValueError, match=f"lazy=True .*{name}"):
        Adam(lazy=True, **option)
    with pytest.raises(ValueError, match=r"lazy=True .*weight_decay"):
        AdamW(lazy=True)
    model = network(SGD(0.1, **option))
    fit(model, 1)
    if name == "weight_decay":
        decayed = TABLE[ROWS // 2 :] * (1 - 0.01) ** 3
        assert_allclose(model.get_weights()[0][ROWS // 2 :], decayed, rtol=1e-12)


def test_steps_by_hand_have_whole_gradients() -> None:
    model = network(Adam(lazy=True))
    with gpunn.GradientTape() as tape:
        loss = ops.mean(model(X))
    with pytest.raises(ValueError, match=r"lazy=True.* by hand"):
        model.optimizer.apply(tape.gradient(loss, model.weights), model.weights)
    with pytest.raises(ValueError, match=r"lazy=True.* by hand"):
        Adam(lazy=True).build(model.weights)


class Own(gpunn.Sequential):
    """Its step is that of `fit`, by hand."""

    def train_step(self, data: Any) -> Any:
        return super().train_step(data)


def own_network(backend: Any, rows: int = ROWS, dtype: str = "float64") -> Own:
    gpunn.utils.set_random_seed(0)
    table = layers.Embedding(rows, WIDTH, name="table")
    dense = layers.Dense(1, kernel_initializer="ones", name="dense")
    inputs = gpunn.Input((LENGTH,), dtype="int32")
    model = Own([inputs, table, layers.Flatten(), dense], dtype=dtype, backend=backend)
    model.compile(SGD(0.1), "mse")
    return model


def test_steps_of_a_class_update_the_rows_of_their_batches(every_backend: str) -> None:
    gpunn.use_backend(every_backend)
    expected, model = network(SGD(0.1)), own_network(every_backend)
    model.layers[0].set_weights([TABLE])
    for each in (expected, model):
        fit(each, epochs=4)
        before = each.get_weights()[0]
        each.fit(X[:8], Y[:8], 8, 1, shuffle=False, verbose=0)
        changed = np.flatnonzero((each.get_weights()[0] != before).any(axis=1))
        assert set(changed) <= set(X[:8].ravel())
    for ours, theirs in zip(model.get_weights(), expected.get_weights(), strict=True):
        assert_allclose(ours, theirs, atol=1e-7)  # a step has targets of float32
    gradients = model.gradients()  # of all rows, 0 for those not read
    for name, theirs in expected.gradients().items():
        assert_allclose(gradients[name], theirs, atol=1e-7)


def test_gradients_are_whole_after_batches_of_other_sizes_too() -> None:
    """Of a batch that reads most rows, all are updated; a step in Python writes all gradients."""
    model, few = own_network("numpy", 40), slice(0, 2)
    for rows in (slice(None), few, slice(None), few):
        for _ in range(3):
            model.train_on_batch(X[rows] % 40, Y[rows])
        before = model.get_weights()
        model.train_on_batch(X[rows] % 40, Y[rows])
        slope = (before[0] - model.get_weights()[0]) / 0.1
        assert_allclose(model.gradients()["table/embeddings"], slope, rtol=1e-6, atol=1e-12)


def test_a_step_of_a_class_leaves_the_memory_of_other_rows_alone(every_backend: str) -> None:
    """A rate that is infinite in float32 would make NaN of any weight whose gradient is 0."""
    gpunn.use_backend(every_backend)
    model = own_network(every_backend, dtype="float32")
    for _ in range(3):
        model.train_on_batch(X[:8], Y[:8])
    before = model.get_weights()[0]
    model.optimizer.learning_rate = 1e39
    with np.errstate(all="ignore"):
        model.train_on_batch(X[:8], Y[:8])
    same = (model.get_weights()[0] == before).all(axis=1)
    assert_array_equal(np.flatnonzero(~same), np.unique(X[:8]))
