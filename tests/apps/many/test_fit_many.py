"""Many models in one call: each ends as its own `fit` leaves it, and errors come before work."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import layers
from gpunn.callbacks import (
    BackupAndRestore,
    Callback,
    CSVLogger,
    EarlyStopping,
    GradientMonitor,
    LambdaCallback,
    ModelCheckpoint,
    ReduceLROnPlateau,
    Report,
    TensorBoard,
    TerminateOnNaN,
)
from gpunn.common.names import plain
from gpunn.models import NonFiniteLossError

RANDOM = np.random.default_rng(3)
X = RANDOM.normal(size=(60, 3))
Y = (X[:, 0] * X[:, 1] > 0).astype("int64")
BOOTSTRAPS = [RANDOM.integers(0, 60, 50) for _ in range(4)]
OUT_OF_BAG = [np.setdiff1d(np.arange(60), rows) for rows in BOOTSTRAPS]


def build(seed: int, backend: str | None = None, rate: float = 0.05, inputs: bool = True) -> Any:
    with gpunn.utils.seeded(seed):
        first = [layers.Input((3,))] if inputs else []
        stack = [*first, layers.Dense(6, "tanh"), layers.Dropout(0.2), layers.BatchNormalization()]
        model = gpunn.Sequential([*stack, layers.Dense(2, "softmax")], backend=backend)
        loss = "sparse_categorical_crossentropy"
        model.compile(gpunn.optimizers.Adam(rate), loss, metrics=["accuracy"])
    return model


def line(rate: float = 0.1, name: str | None = None) -> Any:
    dense = layers.Dense(1, kernel_initializer="zeros")
    model = gpunn.Sequential([layers.Input((1,)), dense], name=name)
    model.compile(gpunn.optimizers.SGD(rate), "mse")
    return model


def assert_same(many: Any, alone: Any) -> None:
    for a, b in zip(many.get_weights(), alone.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    tensors, document = many.training_state()
    expected, of_alone = alone.training_state()
    assert document == of_alone
    assert [*map(plain, tensors)] == [*map(plain, expected)]
    for (name, a), b in zip(tensors.items(), expected.values(), strict=True):
        np.testing.assert_array_equal(a, b, err_msg=name)


@pytest.mark.parametrize("threads", [1, 3])
def test_each_ends_as_its_own_fit_leaves_it(backend: str, threads: int) -> None:
    weights = RANDOM.uniform(0.5, 2, 60)
    given: dict[str, Any] = {"epochs": 3, "batch_size": 16, "verbose": 0}
    many = [build(k, backend) for k in range(4)]
    histories = gpunn.fit_many(
        many, X, Y, rows=BOOTSTRAPS, validation_rows=OUT_OF_BAG, sample_weight=weights,
        threads=threads, **given,
    )  # fmt: skip
    for k, (rows, held) in enumerate(zip(BOOTSTRAPS, OUT_OF_BAG, strict=True)):
        alone = build(k, backend)
        history = alone.fit(
            X[rows], Y[rows], sample_weight=weights[rows],
            validation_data=(X[held], Y[held], weights[held]), **given,
        )  # fmt: skip
        assert histories[k].history == history.history
        assert many[k].history is histories[k]
        assert_same(many[k], alone)


def test_models_that_the_data_build_draw_in_the_order_of_the_list(backend: str) -> None:
    gpunn.use_backend(backend)
    gpunn.utils.set_random_seed(8)
    many = [build(k, rate=0.1, inputs=False) for k in range(4)]
    gpunn.fit_many(many, X, Y, epochs=2, verbose=0, threads=4)
    gpunn.utils.set_random_seed(8)
    for k in range(4):
        alone = build(k, rate=0.1, inputs=False)
        alone.fit(X, Y, epochs=2, verbose=0)
        assert_same(many[k], alone)


def test_models_may_have_the_same_symbolic_input() -> None:
    x = layers.Input((3,))

    def made(seed: int) -> Any:
        with gpunn.utils.seeded(seed):
            model = gpunn.Model(x, layers.Dense(2, "softmax")(x))
            model.compile("sgd", "sparse_categorical_crossentropy")
        return model

    many = [made(k) for k in range(2)]
    gpunn.fit_many(many, X, Y, epochs=2, verbose=0, threads=2)
    for k in range(2):
        alone = made(k)
        alone.fit(X, Y, epochs=2, verbose=0)
        assert_same(many[k], alone)


def test_a_second_call_continues() -> None:
    many = [build(k) for k in range(3)]
    for first, last in ((0, 2), (2, 5)):
        gpunn.fit_many(many, X, Y, initial_epoch=first, epochs=last, verbose=0, threads=2)
    for k in range(3):
        alone = build(k)
        for first, last in ((0, 2), (2, 5)):
            alone.fit(X, Y, initial_epoch=first, epochs=last, verbose=0)
        assert_same(many[k], alone)


MASKS = [np.isin(np.arange(60), rows) for rows in BOOTSTRAPS]
ROWS = {
    "numbers": BOOTSTRAPS,
    "masks": MASKS,
    "lists": [rows.tolist() for rows in BOOTSTRAPS],
    "some": [None, BOOTSTRAPS[1], MASKS[2], None],
    "none": None,
}


@pytest.mark.parametrize("kind", ROWS)
def test_rows_are_numbers_or_masks(kind: str) -> None:
    many = [build(k) for k in range(4)]
    gpunn.fit_many(many, X, Y, rows=ROWS[kind], epochs=2, verbose=0)
    for k, rows in enumerate(ROWS[kind] or [None] * 4):
        alone = build(k)
        some = slice(None) if rows is None else np.asarray(rows)
        alone.fit(X[some], Y[some], epochs=2, verbose=0)
        assert_same(many[k], alone)


def two_inputs(seed: int) -> Any:
    with gpunn.utils.seeded(seed):
        a, b = layers.Input((1,), name="a"), layers.Input((2,), name="b")
        x = layers.Concatenate()([layers.Dense(3)(a), layers.Dense(3)(b)])
        model = gpunn.Model({"a": a, "b": b}, layers.Dense(2, "softmax")(x))
        model.compile("sgd", "sparse_categorical_crossentropy")
    return model


def frame(columns: tuple[str, ...]) -> Any:
    import pandas as pd

    return pd.DataFrame(X, columns=columns, index=np.arange(60)[::-1])


def arrow() -> Any:
    import pyarrow as pa

    return pa.table({name: X[:, k] for k, name in enumerate("pqr")})


def polars() -> Any:
    import polars as pl

    return pl.DataFrame({name: X[:, k] for k, name in enumerate("pqr")})


def sparse() -> Any:
    from scipy.sparse import csr_array

    return csr_array(X)


FORMS: dict[str, Any] = {
    "lists": (build, lambda: X.tolist(), lambda rows: X[rows]),
    "pandas": (build, lambda: frame(("p", "q", "r")), lambda rows: X[rows]),
    "polars": (build, polars, lambda rows: X[rows]),
    "arrow": (build, arrow, lambda rows: X[rows]),
    "sparse": (build, sparse, lambda rows: X[rows]),
    "dictionary": (
        two_inputs, lambda: {"a": X[:, :1], "b": X[:, 1:]},
        lambda rows: {"a": X[rows, :1], "b": X[rows, 1:]},
    ),
    "tuple": (
        two_inputs, lambda: (X[:, :1], X[:, 1:]), lambda rows: [X[rows, :1], X[rows, 1:]],
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", FORMS)
def test_data_in_every_form_that_fit_takes(kind: str) -> None:
    make, whole, some = FORMS[kind]
    many = [make(k) for k in range(2)]
    gpunn.fit_many(many, whole(), Y.tolist(), rows=BOOTSTRAPS[:2], epochs=2, verbose=0)
    for k, rows in enumerate(BOOTSTRAPS[:2]):
        alone = make(k)
        alone.fit(some(rows), Y[rows], epochs=2, verbose=0)
        assert_same(many[k], alone)


def test_columns_are_taken_by_name() -> None:
    def by_name(seed: int) -> Any:
        with gpunn.utils.seeded(seed):
            q, p = layers.Input((1,), name="q"), layers.Input((1,), name="p")
            x = layers.Concatenate()([layers.Dense(3)(q), layers.Dense(2)(p)])
            model = gpunn.Model({"q": q, "p": p}, layers.Dense(2, "softmax")(x))
            model.compile("sgd", "sparse_categorical_crossentropy")
        return model

    many = [by_name(k) for k in range(2)]
    table = frame(("p", "q", "r"))
    gpunn.fit_many(many, table, Y, rows=BOOTSTRAPS[:2], epochs=2, verbose=0)
    for k, rows in enumerate(BOOTSTRAPS[:2]):
        alone = by_name(k)
        alone.fit({"q": X[rows, 1], "p": X[rows, 0]}, Y[rows], epochs=2, verbose=0)
        assert_same(many[k], alone)


def test_models_that_define_their_own_steps() -> None:
    class Own(gpunn.Model):
        def __init__(self) -> None:
            super().__init__()
            self.dense = layers.Dense(1, kernel_initializer="zeros")

        def call(self, x: Any, training: bool | None = None) -> Any:
            return self.dense(x)

        def train_step(self, data: Any) -> Any:
            x, y = data
            with gpunn.GradientTape() as tape:
                loss = gpunn.ops.mean((self(x) - y) ** 2)
            gradients = tape.gradient(loss, self.trainable_variables)
            self.optimizer.apply(gradients, self.trainable_variables)
            return {"loss": loss}

    def made() -> Any:
        model = Own()
        model.compile("sgd", "mse")
        return model

    x, y = X[:, :1], X[:, 1:2]
    many = [made() for _ in range(2)]
    gpunn.utils.set_random_seed(1)
    gpunn.fit_many(many, x, y, rows=BOOTSTRAPS[:2], epochs=2, shuffle=False, verbose=0)
    for k, rows in enumerate(BOOTSTRAPS[:2]):
        alone = made()
        alone.fit(x[rows], y[rows], epochs=2, shuffle=False, verbose=0)
        for a, b in zip(many[k].get_weights(), alone.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)


# -- weights


def test_weights_of_each_model_or_of_all() -> None:
    one = RANDOM.uniform(0.5, 2, 60)
    own, balance = [one, None, np.ones(60)], [None, "balanced", {0: 2.0, 1: 0.5}]
    given: list[dict[str, Any]] = [
        {"sample_weight": own}, {"sample_weight": one.tolist()},
        {"class_weight": balance}, {"class_weight": "balanced"},
    ]  # fmt: skip
    for arguments in given:
        many = [build(k) for k in range(3)]
        gpunn.fit_many(many, X, Y, rows=BOOTSTRAPS[:3], epochs=1, verbose=0, **arguments)
        for k, rows in enumerate(BOOTSTRAPS[:3]):
            ((name, value),) = arguments.items()
            mine = value[k] if value is own or value is balance else value
            if name == "sample_weight" and mine is not None:
                mine = np.asarray(mine)[rows]
            alone = build(k)
            alone.fit(X[rows], Y[rows], epochs=1, verbose=0, **{name: mine})
            assert_same(many[k], alone)


# -- callbacks


def test_callbacks_act_on_each_model(tmp_path: Path) -> None:
    def made(name: str) -> list[Callback]:
        return [
            EarlyStopping(patience=1, min_delta=0.02, restore_best_weights=True),
            ReduceLROnPlateau(patience=1, min_delta=0.05),
            CSVLogger(tmp_path / f"{name}.csv"),
            ModelCheckpoint(tmp_path / f"{name}-{{epoch:02d}}.gpunn"),
        ]

    many = [build(k) for k in range(4)]
    histories = gpunn.fit_many(
        many, X, Y, rows=BOOTSTRAPS, validation_rows=OUT_OF_BAG, epochs=12,
        callbacks=made("{model:02d}"), verbose=0, threads=3,
    )  # fmt: skip
    for k, (rows, held) in enumerate(zip(BOOTSTRAPS, OUT_OF_BAG, strict=True)):
        alone, name = build(k), f"{k:02d}"
        logged = (tmp_path / f"{name}.csv").read_text()
        saved = gpunn.models.load_model(tmp_path / f"{name}-02.gpunn")
        history = alone.fit(
            X[rows], Y[rows], validation_data=(X[held], Y[held]), epochs=12, callbacks=made(name),
            verbose=0,
        )  # fmt: skip
        assert histories[k].history == history.history
        assert_same(many[k], alone)
        assert logged == (tmp_path / f"{name}.csv").read_text()
        expected = gpunn.models.load_model(tmp_path / f"{name}-02.gpunn").get_weights()
        for a, b in zip(saved.get_weights(), expected, strict=True):
            np.testing.assert_array_equal(a, b)
    assert len({len(history.epoch) for history in histories}) > 1, "they stop at different epochs"


WRITING: dict[str, Any] = {
    "CSVLogger": CSVLogger,
    "GradientMonitor": lambda path: GradientMonitor(filename=path, verbose=0),
    "ModelCheckpoint": ModelCheckpoint,
    "Report": Report,
    "TensorBoard": TensorBoard,
}


@pytest.mark.parametrize("name", WRITING)
def test_each_model_has_its_own_file(name: str, tmp_path: Path) -> None:
    callback = WRITING[name](tmp_path / "{model}.gpunn")
    gpunn.fit_many([line(), line()], LINE, LINE, verbose=0, callbacks=callback)
    assert {path.name for path in tmp_path.iterdir()} == {"0.gpunn", "1.gpunn"}


def test_callbacks_may_be_a_function_or_lists() -> None:
    seen: list[tuple[int, int]] = []

    def of(k: int) -> Callback:
        return LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append((k, epoch)))

    for callbacks in (of, [[of(0)], [of(1)]]):
        gpunn.fit_many([line(), line()], [[1.0]], [[2.0]], epochs=2, verbose=0, callbacks=callbacks)
        assert sorted(seen) == [(0, 0), (0, 1), (1, 0), (1, 1)]
        seen.clear()


def test_the_callback_of_a_single_model_is_the_given_one() -> None:
    stop = EarlyStopping("loss", patience=0, min_delta=9)
    gpunn.fit_many([line()], [[1.0]], [[2.0]], epochs=9, verbose=0, callbacks=stop)
    assert stop.stopped_epoch == 1


def test_a_callback_that_was_used_before_is_copied_without_its_model() -> None:
    class Wanting(Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.count = getattr(self, "count", 0) + self.model.count_params()

    callback = Wanting()
    line().fit([[1.0]], [[2.0]], verbose=0, callbacks=callback)
    gpunn.fit_many([line(), line()], [[1.0]], [[2.0]], verbose=0, callbacks=[callback])
    assert callback.count == 2


class InFolder(CSVLogger):
    """A callback with a constructor of its own."""

    def __init__(self, folder: Path, name: str) -> None:
        super().__init__(folder / name)
        self.folder = folder


@pytest.mark.parametrize(
    "make",
    [
        lambda path: InFolder(path, "{model}.csv"),
        lambda path: GradientMonitor(1, path / "{model}.csv", verbose=0),
        lambda path: Report(path / "{model}.csv"),
    ],
)
def test_a_callback_of_any_kind_writes_a_file_for_each_model(make: Any, tmp_path: Path) -> None:
    models = [build(0), build(1)]
    gpunn.fit_many(models, X, Y, callbacks=[make(tmp_path)], verbose=0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.csv", "1.csv"]


@pytest.mark.parametrize(
    "make",
    [
        lambda path: CSVLogger(path / "log.csv"),
        lambda path: ModelCheckpoint(path / "{epoch}.gpunn"),
        lambda path: BackupAndRestore(path / "backup"),
        lambda path: lambda k: [CSVLogger(path / "same.csv")],
        lambda path: InFolder(path, "log.csv"),
    ],
)
def test_files_that_two_models_would_write_are_refused(make: Any, tmp_path: Path) -> None:
    models = [line(), line()]
    with pytest.raises(ValueError, match=r"the models 0 and 1 would both write.*\{model\}"):
        gpunn.fit_many(models, [[1.0]], [[2.0]], callbacks=make(tmp_path), verbose=0)
    assert models[0].history is None


def test_backups_of_each_model(tmp_path: Path) -> None:
    def stopping(k: int) -> list[Callback]:
        def stop(epoch: int, logs: Any) -> None:
            if epoch == 1 and k < 2:
                raise OSError("the power fails")

        return [LambdaCallback(on_epoch_end=stop), BackupAndRestore(tmp_path / "{model}")]

    with pytest.raises(OSError, match="power") as raised:
        gpunn.fit_many([build(0), build(1)], X, Y, epochs=3, callbacks=stopping, verbose=0)
    assert "model 0" in raised.value.__notes__[0]
    resumed = [build(0), build(1)]
    gpunn.fit_many(
        resumed, X, Y, epochs=3, callbacks=BackupAndRestore(tmp_path / "{model}"), verbose=0
    )
    for k in range(2):
        alone = build(k)
        alone.fit(X, Y, epochs=3, verbose=0)
        for a, b in zip(resumed[k].get_weights(), alone.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)


# -- what goes wrong


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning", "ignore:invalid:RuntimeWarning")
@pytest.mark.parametrize("threads", [1, 2])
def test_a_model_that_diverges_harms_no_other_and_is_named(backend: str, threads: int) -> None:
    models = [build(0, backend), build(1, backend, rate=1e38), build(2, backend)]
    with pytest.warns(UserWarning, match=rf"1 of 3 models diverged.*: 1 \('{models[1].name}'\)"):
        histories = gpunn.fit_many(models, X, Y, epochs=4, verbose=0, threads=threads)
    assert len(histories[1].epoch) < 4
    for k in (0, 2):
        alone = build(k, backend)
        assert histories[k].history == alone.fit(X, Y, epochs=4, verbose=0).history
        assert_same(models[k], alone)


def test_one_that_stops_at_nan_by_a_callback_is_named_too() -> None:
    models = [line(), line(1e30)]
    with pytest.warns(UserWarning, match="1 of 2 models diverged"):
        gpunn.fit_many(
            models, [[1.0]], [[2.0]], epochs=5, verbose=0, callbacks=TerminateOnNaN()
        )


def test_an_error_if_all_diverge() -> None:
    with pytest.raises(NonFiniteLossError) as raised:
        gpunn.fit_many([line(1e30), line(1e30)], [[1.0]], [[2.0]], epochs=5, verbose=0)
    assert "all of 2 models" in raised.value.__notes__[-1]


@pytest.mark.skipif(os.name == "nt", reason="signals are sent by another way")
@pytest.mark.parametrize("threads", [1, 2])
def test_ctrl_c_stops_all_and_keeps_what_is_done(threads: int) -> None:
    models = [build(k) for k in range(6)]

    pressed: list[int] = []

    def callbacks(k: int) -> Callback:
        def press(epoch: int, logs: Any) -> None:
            if k == 1 and not pressed and len(models[0].history.epoch) == 2:
                pressed.append(epoch)
                os.kill(os.getpid(), signal.SIGINT)

        return EarlyStopping("loss", min_delta=99) if k == 0 else LambdaCallback(on_epoch_end=press)

    with pytest.raises(KeyboardInterrupt) as raised:
        gpunn.fit_many(
            models, X, Y, epochs=1_000_000, callbacks=callbacks, verbose=0, threads=threads
        )
    assert any("fit_many was interrupted" in note for note in raised.value.__notes__)
    assert len(models[0].history.epoch) == 2, "it was through"
    assert len(models[1].history.epoch) < 1_000_000
    assert models[5].history is None, "it had not begun"
    for model in models:  # each can be trained on
        model.fit(X, Y, verbose=0)


def test_an_error_of_a_callback_stops_the_others() -> None:
    models = [build(k) for k in range(3)]

    def failing(k: int) -> list[Callback]:
        def fail(epoch: int, logs: Any) -> None:
            raise OSError("disk full")

        return [LambdaCallback(on_epoch_end=fail)] if k == 1 else []

    with pytest.raises(OSError, match="disk full") as raised:
        gpunn.fit_many(
            models, X, Y, epochs=1_000_000, callbacks=failing, verbose=0, threads=2
        )
    assert f"model 1 ({models[1].name!r})" in raised.value.__notes__[0]
    models[0].fit(X, Y, verbose=0)


def test_a_model_in_training_is_refused() -> None:
    models = [build(0), build(1)]
    failed: list[str] = []

    def again(epoch: int, logs: Any) -> None:
        with pytest.raises(RuntimeError, match="is being trained just now") as raised:
            gpunn.fit_many(models, X, Y, verbose=0)
        failed.append(str(raised.value))

    models[1].fit(X, Y, verbose=0, callbacks=LambdaCallback(on_epoch_end=again))
    assert failed and models[0].history is None


# -- refused before any work


def uncompiled() -> Any:
    return gpunn.Sequential([layers.Input((1,)), layers.Dense(1)])


def sharing() -> list[Any]:
    dense = layers.Dense(1, name="both")
    models = [gpunn.Sequential([layers.Input((1,)), dense]) for _ in range(2)]
    for model in models:
        model.compile("sgd", "mse")
    return models


def wide() -> Any:
    model = gpunn.Sequential([layers.Input((2,)), layers.Dense(1)])
    model.compile("sgd", "mse")
    return model


CALLBACK = LambdaCallback()
LINE: list[Any] = [[1.0], [2.0]]
REFUSED: dict[str, tuple[Any, dict[str, Any], type[Exception], str]] = {
    "no models": (lambda: [], {}, ValueError, "models is empty"),
    "one model": (line, {}, TypeError, "models must be a list of compiled"),
    "no model": (lambda: [line(), 3], {}, TypeError, r"models\[1\] must be a gpunn.Model; got 3"),
    "not compiled": (
        lambda: [line(), uncompiled()], {}, ValueError, r"models\[1\] .* not compiled"),
    "twice": (lambda: [line()] * 2, {}, ValueError, r"models\[0\] and models\[1\] are the same"),
    "shared": (sharing, {}, ValueError, "share the layer 'both'"),
    "a model alone": (lambda: line(), {}, TypeError, "models must be a list .*; got <Seq"),
    "named models": (lambda: {"a": line()}, {}, TypeError, "models must be a list"),
    "batches": (lambda: [line()], {"x": iter([])}, TypeError, "x must be arrays"),
    "y": (lambda: [line()], {"y": [[1.0]]}, ValueError, "y"),
    "few rows": (lambda: [line(), line()], {"rows": [[0]]}, ValueError,
                 "rows has 1 entries for 2 models"),
    "no rows": (lambda: [line(), line()], {"rows": [[0], []]}, ValueError, r"rows\[1\] is empty"),
    "no True": (lambda: [line()], {"rows": [[False, False]]}, ValueError, r"rows\[0\] is empty"),
    "high": (lambda: [line()], {"rows": [[0, 2]]}, ValueError, "the row 2; x has the rows 0 to 1"),
    "low": (lambda: [line()], {"rows": [[-1]]}, ValueError, "the row -1"),
    "mask": (lambda: [line()], {"rows": [[True]]}, ValueError, "a mask of 1 rows; x has 2"),
    "flat": (lambda: [line(), line()], {"rows": [0, 1]}, TypeError, r"rows\[0\] must be .*; got 0"),
    "ragged": (lambda: [line()], {"rows": [[[0], [1, 0]]]}, TypeError, r"got \[\[0\], \[1, 0\]\]"),
    "slices": (lambda: [line()], {"rows": [slice(1)]}, TypeError, "got slice"),
    "floats": (lambda: [line()], {"rows": [[0.0]]}, TypeError, "dtype float64"),
    "rows": (lambda: [line()], {"rows": 3}, TypeError, "rows must be None or a list"),
    "validation": (lambda: [line()], {"validation_rows": [[7]]}, ValueError,
                   r"validation_rows\[0\] holds the row 7"),
    "two ways": (lambda: [line()], {"validation_rows": [[1]], "validation_split": 0.5}, ValueError,
                 "validation_rows already says"),
    "weights": (lambda: [line()], {"sample_weight": [1.0]}, ValueError, "sample_weight has 1 rows"),
    "rows of weights": (lambda: [line(), line()], {"sample_weight": [None, [1.0]]}, ValueError,
                       r"sample_weight has 1 rows for models\[1\]"),
    "classes": (lambda: [line()], {"class_weight": [None, None]}, ValueError,
                "class_weight has 2 entries for 1 models"),
    "columns": (lambda: [line(), wide()], {}, ValueError, r"x has shape .* takes \(batch, 2\)"),
    "a class": (lambda: [line(), line()], {"class_weight": [None, {1: -1.0}]}, ValueError,
                r"class_weight\[1\] must be finite and at least 0"),
    "weights of one": (
        lambda: [line(), line()], {"sample_weight": [None, np.ones((2, 2, 2))]}, ValueError,
        r"sample_weight has shape \(2, 2, 2\)"),
    "validation data": (lambda: [line()], {"validation_data": np.ones((2, 1))}, ValueError,
                        "validation_data must be"),
    "callbacks": (lambda: [line()], {"callbacks": EarlyStopping}, TypeError, "is a class"),
    "lists": (lambda: [line()], {"callbacks": [[], []]}, ValueError, "callbacks has 2 entries"),
    "same callback": (
        lambda: [line(), line()], {"callbacks": [[CALLBACK], [CALLBACK]]}, ValueError,
        "the models 0 and 1 have the same LambdaCallback"),
    "path": (lambda: [line()], {"callbacks": CSVLogger("{model:x%}")}, ValueError,
             r"callbacks: '{model:x%}' in a path: .*\. Write {model}"),
    "unknown": (lambda: [line()], {"epoch": 3}, TypeError, "'epoch'. Did you mean 'epochs'"),
    "epochs": (lambda: [line()], {"epochs": -1}, ValueError, "epochs must be"),
    "threads": (lambda: [line()], {"threads": 0}, ValueError, "threads must be"),
    "verbose": (lambda: [line()], {"verbose": 7}, ValueError, "verbose must be"),
    "split": (lambda: [line()], {"validation_split": 2}, ValueError, "validation_split must be"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_wrong_arguments_are_refused_before_any_work(case: str) -> None:
    make, given, error, message = REFUSED[case]
    models = make()
    each = models if isinstance(models, list) else [models]
    before = [m.get_weights() for m in each if isinstance(m, gpunn.Model)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(error, match=message):
            gpunn.fit_many(models, **{"x": LINE, "y": LINE, "verbose": 0, **given})
    after = [m.get_weights() for m in each if isinstance(m, gpunn.Model)]
    assert str(before) == str(after)


# -- what is shown


def test_a_line_says_what_was_trained(capsys: pytest.CaptureFixture[str]) -> None:
    gpunn.fit_many([line(), line()], LINE, LINE, epochs=3, verbose=2)
    assert capsys.readouterr().out.startswith("2 models: 6 epochs in ")
    gpunn.fit_many([line(), line()], LINE, LINE, epochs=3, verbose=0)
    assert capsys.readouterr().out == ""


def test_one_bar_counts_the_epochs_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    stop = EarlyStopping("loss", min_delta=99)
    gpunn.fit_many([line(), line()], LINE, LINE, epochs=50, verbose=1, callbacks=stop)
    shown = terminal.getvalue()
    assert "0/100 " in shown and "2 models: 4 epochs in " in shown
    assert shown.count("Epoch") == 0


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="needs signals of threads")
def test_ctrl_c_that_another_thread_receives_stops_all() -> None:
    def interrupt(epoch: int, logs: Any) -> None:
        if epoch == 1:
            signal.pthread_kill(threading.get_ident(), signal.SIGINT)

    many = [build(k) for k in range(2)]
    with pytest.raises(KeyboardInterrupt):
        gpunn.fit_many(
            many, X, Y, epochs=20_000, verbose=0, threads=2,
            callbacks=lambda k: [LambdaCallback(on_epoch_end=interrupt if k else None)],
        )  # fmt: skip
    assert all(len(model.history.epoch) < 20_000 for model in many)
