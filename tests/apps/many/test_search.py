"""A search: each trial is what the documentation says, in any order, thread, process and run."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import searched
from scipy import stats
from searched import X, Y, build, by_hand, weights
from sklearn.model_selection import GroupKFold, KFold, StratifiedKFold

import gpunn
from gpunn import layers
from gpunn.callbacks import CSVLogger, EarlyStopping, LambdaCallback
from gpunn.models import NonFiniteLossError

OVER = {"units": [4, 5], "rate": [0.1, 0.01]}
FOLDS = list(KFold(2, shuffle=True, random_state=1).split(X))
GIVEN: dict[str, Any] = {"over": OVER, "seeds": 2, "folds": FOLDS, "epochs": 3, "verbose": 0}


def assert_same(found: Any, expected: Any) -> None:
    assert found.scores == expected.scores
    assert [r.history for r in found.results] == [r.history for r in expected.results]
    for a, b in zip(found.models, expected.models, strict=True):
        np.testing.assert_array_equal(weights(a), weights(b))


@pytest.fixture(scope="module")
def plain() -> Any:
    """The study in this process."""
    return gpunn.search(build, X, Y, **GIVEN)


# -- trials


def test_each_trial_is_what_the_documentation_says(backend: str) -> None:
    gpunn.use_backend(backend)
    over = {"units": [4], "rate": [0.1, 0.01]}
    study = gpunn.search(build, X, Y, **{**GIVEN, "over": over, "folds": FOLDS}, batch_size=16)
    assert study.points == [{"units": 4, "rate": rate} for rate in (0.1, 0.01)]
    assert len(study.results) == 2 * 2 * 2
    for result, model in zip(study.results, study.models, strict=True):
        trial = result.trial
        rows, held = FOLDS[trial.fold]
        alone, history = by_hand(trial.point, trial.seed, rows, held, epochs=3, batch_size=16)
        assert result.history == history.history
        assert result.score == history.history["val_loss"][-1]
        np.testing.assert_array_equal(weights(model), weights(alone))
    for place, score in enumerate(study.scores):
        own = [r.score for r in study.results if r.trial.place == place]
        assert score == pytest.approx(np.mean(own), abs=1e-12)


def test_what_is_drawn_later_is_drawn_from_the_seed_too() -> None:
    class Shift(layers.Layer):
        def build(self, input_shape: Any) -> None:
            self.shift = np.asarray(gpunn.random.normal((1,))).item()

        def call(self, x: Any) -> Any:
            return x + self.shift

    def later() -> Any:
        model = gpunn.Sequential([layers.Dense(3, "tanh"), Shift(), layers.Dense(1)])
        model.compile("adam", "mse")
        return model

    class Moving(gpunn.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.model.layers[-1].bias.assign(np.asarray(gpunn.random.normal((1,))))

    given: dict[str, Any] = {"validation_split": 0.2, "epochs": 3, "verbose": 0}
    study = gpunn.search(later, X, Y, over=[{}], seeds=[5, 9, 7], threads=3, callbacks=Moving(),
                         **given)  # fmt: skip
    for result, model in zip(study.results, study.models, strict=True):
        with gpunn.utils.seeded(result.trial.seed):
            alone = later()
            alone.fit(X, Y, callbacks=Moving(), **given)
        np.testing.assert_array_equal(weights(model), weights(alone))


def test_a_point_may_say_on_which_rows_its_model_validates() -> None:
    over = {"validation_split": [0.25, 0.5]}
    study = gpunn.search(build, X, Y, over=over, epochs=2, verbose=0)
    for split, result in zip(over["validation_split"], study.results, strict=True):
        with gpunn.utils.seeded(0):
            history = build().fit(X, Y, epochs=2, validation_split=split, verbose=0).history
        assert result.history["val_loss"] == history["val_loss"]


def test_what_build_does_not_take_goes_to_fit() -> None:
    over = [{"units": 4, "batch_size": 8, "epochs": 1}, {"batch_size": 60, "epochs": 4}]
    study = gpunn.search(build, X, Y, over=over, folds=FOLDS[:1], verbose=0)
    for point, model in zip(over, study.models, strict=True):
        alone, _ = by_hand(
            {n: v for n, v in point.items() if n == "units"}, 0, *FOLDS[0],
            batch_size=point["batch_size"], epochs=point["epochs"],
        )  # fmt: skip
        np.testing.assert_array_equal(weights(model), weights(alone))


@pytest.mark.parametrize("before", [[], [EarlyStopping("loss", restore_best_weights=True)]])
def test_the_score_is_of_the_weights_that_the_model_has(before: list[Any]) -> None:
    stop = EarlyStopping(patience=2, restore_best_weights=True, start_from_epoch=2)
    study = gpunn.search(build, X, Y, over={"rate": [0.5, 0.3]}, folds=FOLDS, epochs=15,
                         callbacks=[*before, stop], verbose=0)  # fmt: skip
    differ = 0
    for result, model in zip(study.results, study.models, strict=True):
        _, held = FOLDS[result.trial.fold]
        loss = model.evaluate(X[held], Y[held], verbose=0)[0]
        assert result.score == pytest.approx(loss, rel=1e-5)
        differ += result.score != result.history["val_loss"][-1]
    assert differ, "some are not of the last epoch"


def test_the_callbacks_know_the_number_of_the_trial(tmp_path: Path) -> None:
    gpunn.search(build, X, Y, over={"units": [3, 4]}, validation_split=0.5, verbose=0, seeds=2,
                 callbacks=CSVLogger(tmp_path / "{model}.csv"))  # fmt: skip
    assert sorted(os.listdir(tmp_path)) == ["0.csv", "1.csv", "2.csv", "3.csv"]


# -- points, folds, rounds


def points(over: Any, **given: Any) -> list[Any]:
    study = gpunn.search(lambda **point: build(), X, Y, over=over, epochs=1, validation_split=0.5,
                         verbose=0, **given)  # fmt: skip
    return study.points


def test_draws_of_distributions_are_those_of_scipy() -> None:
    over = {
        "rate": stats.loguniform(1e-4, 1e-1), "units": stats.randint(2, 9), "kind": ["a", "b"],
        "own": lambda random: random.normal(),
    }  # fmt: skip
    first = points(over, trials=3)
    assert points(over, trials=5)[:3] == first
    assert points(over, trials=3, random_state=1) != first
    for point in first:
        assert 1e-4 <= point["rate"] <= 1e-1 and 2 <= point["units"] <= 8
        assert point["kind"] in ("a", "b") and type(point["units"]) is int
    assert len({point["rate"] for point in first}) == 3


@pytest.mark.parametrize("labels", [Y, Y.astype(float), np.eye(2)[Y.astype(int).ravel()]])
def test_a_number_of_folds_shares_out_each_class(labels: np.ndarray) -> None:
    def wide() -> Any:
        units = labels.reshape(60, -1).shape[1]
        model = gpunn.Sequential([layers.Input((2,)), layers.Dense(units)])
        model.compile("sgd", "mse")
        return model

    seen: list[Any] = []

    class Watching(gpunn.callbacks.Callback):
        def set_data(self, training: Any, validation: Any) -> None:
            seen.append((np.array(training.x), np.array(validation.x)))  # which are refilled

    gpunn.search(wide, X, labels, over=[{}], folds=5, epochs=1, verbose=0,
                 callbacks=lambda k: Watching())  # fmt: skip
    rows = {row.tobytes(): k for k, row in enumerate(X.astype("float32"))}
    held = [[rows[row.tobytes()] for row in validation] for _, validation in seen]
    assert sorted(row for out in held for row in out) == list(range(60))
    for (training, _), out in zip(seen, held, strict=True):
        inside = {rows[row.tobytes()] for row in training}
        assert inside == {*range(60)} - {*out}
        assert np.asarray(Y).ravel()[out].sum() == 6, "half of twelve"


def test_a_splitter_is_asked_once() -> None:
    splitter = StratifiedKFold(3, shuffle=True, random_state=0)
    found = gpunn.search(build, X, Y, over=OVER, folds=splitter, epochs=2, verbose=0)
    pairs = list(splitter.split(X, Y))
    assert_same(found, gpunn.search(build, X, Y, over=OVER, folds=pairs, epochs=2, verbose=0))


def test_halving_drops_the_worst_and_trains_the_others_longer() -> None:
    over = [{"rate": rate} for rate in (1e-5, 0.1, 1e-4, 0.05)]
    study = gpunn.search(build, X, Y, over=over, folds=FOLDS, halving=2, epochs=20, verbose=0)
    full = gpunn.search(build, X, Y, over=over, folds=FOLDS, epochs=5, verbose=0)
    rows = study.table()
    assert [row["trained_epochs"] for row in rows] == [20, 10, 5, 5]
    worst = sorted(range(4), key=lambda k: -full.scores[k])[:2]
    assert [row["rate"] for row in rows[:1:-1]] == [over[k]["rate"] for k in worst]
    for place in worst:
        assert study.scores[place] == full.scores[place]
    _, history = by_hand(study.best.point, 0, *FOLDS[0], epochs=20)
    assert history.history in [r.history for r in study.results]


def test_a_point_that_was_dropped_is_not_the_best_by_its_shorter_training() -> None:
    given: dict[str, Any] = {"folds": FOLDS[:1], "mode": "max", "verbose": 0}
    study = gpunn.search(build, X, Y, over={"rate": [0.012, 0.01]}, halving=2, epochs=20, **given)
    assert study.scores[0] > study.scores[1], "the loss, of which more is better here, goes down"
    assert study.best.point == {"rate": 0.01}


# -- the study


def test_the_best_the_table_and_the_ensemble(plain: Any, tmp_path: Path) -> None:
    rows = plain.table()
    assert [row["val_loss"] for row in rows] == sorted(plain.scores)
    assert rows[0] == {
        **plain.best.point, "val_loss": min(plain.scores), "trials": 4,
        "spread": pytest.approx(np.std([
            r.score for r in plain.results if r.trial.point == plain.best.point
        ])),
    }  # fmt: skip
    assert len(str(plain).splitlines()) == 5
    order = np.argsort([r.score for r in plain.results], kind="stable")
    own = [r for r in plain.results if r.trial.point == plain.best.point]
    assert weights(plain.best.model).tolist() == weights(
        min(own, key=lambda r: r.score).model
    ).tolist()
    for members in (1, 3):
        ensemble = plain.ensemble(members)
        outputs = [plain.models[k].predict(X, verbose=0) for k in order[:members]]
        expected = np.mean(outputs, axis=0)
        np.testing.assert_allclose(ensemble.predict(X, verbose=0), expected, atol=1e-6)
        ensemble.save(tmp_path / "ensemble.gpunn")
        loaded = gpunn.models.load_model(tmp_path / "ensemble.gpunn")
        np.testing.assert_allclose(loaded.predict(X, verbose=0), expected, atol=1e-6)
        accuracy = ensemble.evaluate(X, Y, verbose=0)[1]
        assert accuracy == pytest.approx(np.mean((expected > 0.5) == np.reshape(Y, (-1, 1))))


class Own(gpunn.Model):
    """A model whose call takes and returns dictionaries."""

    def __init__(self) -> None:
        super().__init__()
        self.p, self.q = layers.Dense(1), layers.Dense(2)

    def call(self, x: Any) -> Any:  # type: ignore[override]
        both = gpunn.ops.concatenate([x["a"], x["b"]], -1)
        return {"p": self.p(both), "q": self.q(both)}


@pytest.mark.parametrize("kind", ["lists", "dictionaries", "its own call"])
def test_an_ensemble_of_several_inputs_and_outputs(kind: str) -> None:
    def made() -> Any:
        if kind == "its own call":
            model = Own()
        else:
            a, b = layers.Input((1,), name="a"), layers.Input((1,), name="b")
            both = layers.Concatenate()([a, b])
            outputs = [layers.Dense(1, name="p")(both), layers.Dense(2, name="q")(both)]
            lists = kind == "lists"
            model = gpunn.Model(
                [a, b] if lists else {"a": a, "b": b},
                outputs if lists else dict(zip("pq", outputs, strict=True)),
            )
        model.compile("sgd", ["mse", "mse"] if kind == "lists" else {"p": "mse", "q": "mse"})
        return model

    x: Any = [X[:, :1], X[:, 1:]]
    y: Any = [X[:, :1], X]
    if kind != "lists":
        x, y = dict(zip("ab", x, strict=True)), dict(zip("pq", y, strict=True))
    study = gpunn.search(made, x, y, over=[{}], seeds=3, folds=2, epochs=1, verbose=0)
    found = study.ensemble(3).predict(x, verbose=0)
    order = np.argsort([r.score for r in study.results], kind="stable")[:3]
    each = [study.models[k].predict(x, verbose=0) for k in order]
    for k in range(2) if kind == "lists" else "pq":
        np.testing.assert_allclose(found[k], np.mean([one[k] for one in each], axis=0), atol=1e-6)


def test_an_ensemble_of_dictionaries() -> None:
    def made() -> Any:
        a, b = layers.Input((1,), name="a"), layers.Input((1,), dtype="string", name="b")
        codes = layers.StringLookup(vocabulary=["one", "two"], output_mode="one_hot")(b)
        both = layers.Concatenate()([a, codes])
        model = gpunn.Model({"a": a, "b": b}, {"p": layers.Dense(1)(both), "q": layers.Dense(2)(a)})
        model.compile("sgd", {"p": "mse", "q": "mse"}, metrics={"p": ["mae"]})
        return model

    x = {"a": X[:, :1], "b": np.array([["one"], ["two"]] * 30, object)}
    y = {"p": X[:, 1:], "q": X}
    study = gpunn.search(made, x, y, over=[{}], seeds=2, folds=2, epochs=1, verbose=0)
    ensemble = study.ensemble(4)
    found = ensemble.predict(x, verbose=0)
    each = [model.predict(x, verbose=0) for model in study.models]
    assert found.keys() == {"p", "q"}
    for name in found:
        expected = np.mean([one[name] for one in each], axis=0)
        np.testing.assert_allclose(found[name], expected, atol=1e-6)
    figures = ensemble.evaluate(x, y, verbose=0, return_dict=True)
    assert figures["p_mae"] == pytest.approx(np.abs(found["p"] - y["p"]).mean(), rel=1e-5)
    alone = study.ensemble(1).predict(x, verbose=0)
    best = each[int(np.argmin([result.score for result in study.results]))]
    np.testing.assert_array_equal(alone["q"], best["q"])


def test_an_ensemble_takes_the_frame_that_its_models_take(tmp_path: Path) -> None:
    frame = pd.DataFrame({"city": ["Oslo", "Rome", "Lima", "Rome"] * 15, "area": X[:, 0] * 30})

    def made() -> Any:
        space = gpunn.utils.FeatureSpace({"city": "string_categorical", "area": "float_normalized"})
        space.adapt(frame)
        model = gpunn.Model(space.get_inputs(), layers.Dense(1)(space.get_encoded_features()))
        model.compile("sgd", "mse")
        return model

    study = gpunn.search(made, frame, Y, over=[{}], seeds=3, folds=2, verbose=0)
    study.ensemble(6).save(tmp_path / "ensemble.gpunn")
    found = gpunn.models.load_model(tmp_path / "ensemble.gpunn").predict(frame, verbose=0)
    each = [model.predict(frame, verbose=0) for model in study.models]
    np.testing.assert_allclose(found, np.mean(each, axis=0), atol=1e-6)


def test_a_higher_figure_may_be_better() -> None:
    study = gpunn.search(build, X, Y, over=OVER, monitor="val_accuracy", folds=3, epochs=3,
                         verbose=0)  # fmt: skip
    assert study.best.score == max(study.scores)
    assert [row["val_accuracy"] for row in study.table()] == sorted(study.scores, reverse=True)
    lowest = gpunn.search(build, X, Y, over=OVER, monitor="val_accuracy", mode="min", folds=3,
                          epochs=3, verbose=0)  # fmt: skip
    assert lowest.best.score == min(study.scores)


def test_an_error_in_a_training_names_the_trial() -> None:
    with pytest.raises(ValueError, match="batch_size must be") as raised:
        gpunn.search(build, X, Y, over={"batch_size": [8, 0]}, folds=2, verbose=0)
    assert "{'batch_size': 0}, seed 0, fold 0" in raised.value.__notes__[0]


@pytest.mark.parametrize("kind", ["grid", "draws", "a single argument", "points"])
def test_a_line_joins_means_that_can_be_compared(kind: str) -> None:
    over: Any = {
        "grid": {"units": [3, 4, 5], "rate": [0.1, 0.01]},
        "draws": [{"units": 3 + k, "rate": 0.1 / (k + 1)} for k in range(3)],
        "a single argument": {"units": [3, 4, 5]},
        "points": [{"units": 3}, {"rate": 0.1}, {"units": 3, "rate": 0.01}],
    }[kind]
    study = gpunn.search(build, X, Y, over=over, folds=2, verbose=0)
    joined = [ax.lines[0].get_linestyle() != "None" for ax in study.plot().axes]
    assert joined == [kind in ("grid", "a single argument")] * len(joined)
    if kind == "points":
        labels = [[t.get_text() for t in ax.get_xticklabels()] for ax in study.plot().axes]
        assert labels == [["3", "default"], ["default", "0.1", "0.01"]]


def test_the_plot_shows_each_model_over_what_differs(plain: Any) -> None:
    axes = plain.plot().axes
    assert [ax.get_xlabel() for ax in axes] == ["units", "rate"]
    for ax, name in zip(axes, ("units", "rate"), strict=True):
        dots = sorted(map(tuple, ax.collections[0].get_offsets().tolist()))
        assert dots == sorted((r.trial.point[name], r.score) for r in plain.results)
    with pytest.raises(ValueError, match="ax is for one argument; these differ: units, rate"):
        plain.plot(ax=axes[0])


def test_the_plot_of_seeds_alone_has_a_dot_for_each() -> None:
    study = gpunn.search(build, X, Y, over=[{}], seeds=3, validation_split=0.2, verbose=0)
    (ax,) = study.plot().axes
    assert ax.get_xlabel() == "point"
    scores = [y for _, y in ax.collections[0].get_offsets().tolist()]
    assert scores == [result.score for result in study.results]


@pytest.mark.parametrize("form", [np.ndarray.tolist, lambda a: tuple(map(tuple, a.tolist()))])
def test_data_may_be_lists(form: Any, plain: Any) -> None:
    found = gpunn.search(build, form(X), Y.tolist(), **GIVEN)
    assert_same(found, plain)


# -- executors


def test_threads_give_the_same(plain: Any) -> None:
    assert_same(gpunn.search(build, X, Y, threads=3, **GIVEN), plain)
    with ThreadPoolExecutor(3) as pool:
        assert_same(gpunn.search(build, X, Y, executor=pool, **GIVEN), plain)


METHODS = [
    pytest.param(
        "fork", marks=pytest.mark.skipif(sys.platform != "linux", reason="forks are for Linux")
    ),
    pytest.param("spawn", marks=pytest.mark.more),
]


@pytest.mark.parametrize("method", METHODS)
def test_processes_give_the_same(method: str, plain: Any) -> None:
    with ProcessPoolExecutor(2, multiprocessing.get_context(method)) as pool:
        assert_same(gpunn.search(build, X, Y, executor=pool, **GIVEN), plain)
        assert_same(gpunn.search(build, X, Y, executor=pool, **GIVEN), plain)


@pytest.mark.parametrize("kind", [{}, {"return_as": "generator_unordered"}, {"prefer": "threads"}])
def test_joblib_gives_the_same(kind: dict[str, Any], plain: Any) -> None:
    from joblib import Parallel

    assert_same(gpunn.search(build, X, Y, executor=Parallel(2, **kind), **GIVEN), plain)


class Elsewhere:
    """An executor whose worker sees no file of this machine, as on another one: what it gets and
    returns is pickled, and it remembers what it was sent."""

    def __init__(self) -> None:
        self.sent: list[int] = []

    def submit(self, function: Any, *arguments: Any) -> Future[Any]:
        import pickle

        from gpunn.apps.many import executors

        text = pickle.dumps((function, arguments))
        self.sent.append(len(text))
        function, (key, _, home, *rest) = pickle.loads(text)
        ours, executors._plans = executors._plans, self.plans
        future: Future[Any] = Future()
        try:
            future.set_result(pickle.loads(pickle.dumps(function(key, "/none", -home, *rest))))
        except Exception as error:
            future.set_exception(error)
        finally:
            executors._plans = ours
        return future

    plans: dict[str, Any] = {}  # noqa: RUF012


def test_another_machine_gets_the_data_once(plain: Any) -> None:
    executor = Elsewhere()
    assert_same(gpunn.search(build, X, Y, executor=executor, **GIVEN), plain)
    large = [size for size in executor.sent if size > X.nbytes]
    assert len(large) == 1 and len(executor.sent) > 3


@pytest.mark.skipif(sys.platform != "linux", reason="forks are for Linux")
@pytest.mark.parametrize("name", ["dying_once", "dying"])
def test_a_process_that_dies_costs_only_its_own_trial(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(searched.MARK, str(tmp_path / "mark"))
    over = {"units": [3, 4, 5, 6]}
    expected = gpunn.search(build, X, Y, over=over, folds=2, epochs=2, verbose=0)
    given: dict[str, Any] = {"over": over, "folds": 2, "epochs": 2, "verbose": 0}
    with ProcessPoolExecutor(2, multiprocessing.get_context("fork")) as pool:
        if name == "dying_once":
            assert_same(gpunn.search(searched.dying_once, X, Y, executor=pool, **given), expected)
            return
        with pytest.warns(UserWarning, match=r"2 of 8 trials ended.*'units': 5.*died, twice"):
            study = gpunn.search(searched.dying, X, Y, executor=pool, **given)
    assert np.isnan(study.scores[2])
    for place in (0, 1, 3):
        assert study.scores[place] == expected.scores[place]
    assert study.best == expected.best._replace(model=study.best.model)
    assert [model is None for model in study.models] == [False] * 4 + [True] * 2 + [False] * 2


def test_an_error_of_build_in_a_process_names_the_trial() -> None:
    with ThreadPoolExecutor(2) as pool, pytest.raises(ValueError, match="units") as raised:
        gpunn.search(build, X, Y, over={"units": [4, -1]}, folds=2, verbose=0, executor=pool)
    assert "{'units': -1}, seed 0, fold" in raised.value.__notes__[0]


def test_an_error_that_cannot_be_sent_is_told_in_words() -> None:
    over = {"units": [4, 5]}
    with ProcessPoolExecutor(1) as pool, pytest.raises(RuntimeError) as raised:
        gpunn.search(searched.refusing, X, Y, over=over, folds=2, verbose=0, executor=pool)
    assert str(raised.value) == "Peculiar: 5 units: not today"
    assert "{'units': 5}, seed 0, fold" in raised.value.__notes__[0]


# -- a folder


def test_a_folder_goes_on_where_it_ended(plain: Any, tmp_path: Path) -> None:
    begun: list[int] = []

    def interrupting(k: int) -> Any:
        def press(logs: Any) -> None:
            begun.append(k)
            if len(begun) == 5:
                signal.raise_signal(signal.SIGINT)

        return LambdaCallback(on_train_begin=press)

    given = {**GIVEN, "folder": tmp_path, "threads": 1, "callbacks": interrupting}
    with pytest.raises(KeyboardInterrupt) as raised:
        gpunn.search(build, X, Y, **given)
    assert any("the same call goes on" in note for note in raised.value.__notes__)
    assert len(begun) == 5
    begun[:] = [-1] * 5
    assert_same(gpunn.search(build, X, Y, **given), plain)
    assert begun[5:] == list(range(4, 16)), "four trials were done"
    del begun[5:]
    assert_same(gpunn.search(build, X, Y, **given), plain)
    assert begun[5:] == []
    more = {**given, "over": {"units": [4, 5, 6], "rate": [0.1, 0.01]}}
    study = gpunn.search(build, X, Y, **more)
    assert len(begun) == 5 + 8, "only the new points are trained"
    assert study.scores[:4] == plain.scores


def test_models_of_a_folder_train_on_as_others(plain: Any, tmp_path: Path) -> None:
    for _ in range(2):
        study = gpunn.search(build, X, Y, folder=tmp_path, **GIVEN)
    model, (rows, held) = study.models[7], FOLDS[study.results[7].trial.fold]
    trial = study.results[7].trial
    alone, _ = by_hand(trial.point, trial.seed, rows, held, epochs=3)
    for each in (model, alone):
        each.fit(X, Y, epochs=2, verbose=0)
    np.testing.assert_array_equal(weights(model), weights(alone))


def other_build(units: int = 4, rate: float = 0.05) -> Any:
    model = build(units, rate)
    model.layers[0].activation = "relu"
    model.compile(gpunn.optimizers.Adam(rate), "binary_crossentropy", metrics=["accuracy"])
    return model


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": X + 1}, "differs in x"),
        ({"y": 1 - Y}, "differs in y"),
        ({"folds": 2}, "differs in folds"),
        ({"monitor": "val_accuracy"}, "differs in monitor"),
        ({"batch_size": 7}, "differs in arguments of fit"),
        ({"sample_weight": np.ones(60)}, "differs in sample_weight"),
        ({"callbacks": EarlyStopping()}, "differs in callbacks"),
        ({"build": other_build}, "build makes another model for"),
    ],
)
def test_a_folder_of_another_search_is_refused(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    given = {"build": build, "x": X, "y": Y, **GIVEN, "over": [{"units": 3}], "folder": tmp_path}
    gpunn.search(**given)
    with pytest.raises(ValueError, match=f"is of another search: .*{message}"):
        gpunn.search(**{**given, **change})
    gpunn.search(**given)


def test_a_trial_whose_files_were_cut_off_is_repeated(tmp_path: Path) -> None:
    given: dict[str, Any] = {"over": {"units": [3, 4]}, "folds": 2, "verbose": 0}
    first = gpunn.search(build, X, Y, folder=tmp_path, **given)
    files = sorted((tmp_path / "trials").glob("*.json"))
    files[0].write_bytes(files[0].read_bytes()[:20])
    files[1].unlink()
    assert_same(gpunn.search(build, X, Y, folder=tmp_path, **given), first)
    assert all(json.loads(file.read_text())["score"] > 0 for file in files)


DAMAGED = ["", "{}", "[]", "3", "[" * 100_000, '{"first": "", "score": "best"}']


@pytest.mark.parametrize("text", DAMAGED, ids=range(len(DAMAGED)))
def test_a_trial_whose_figures_are_damaged_is_repeated(text: str, tmp_path: Path) -> None:
    given: dict[str, Any] = {"over": {"units": [2, 3]}, "folds": 2, "epochs": 1, "verbose": 0}
    first = gpunn.search(build, X, Y, folder=tmp_path, **given)
    next(tmp_path.glob("trials/*.json")).write_text(text)
    assert_same(gpunn.search(build, X, Y, folder=tmp_path, **given), first)


def test_a_trial_whose_model_is_gone_is_repeated(tmp_path: Path) -> None:
    given: dict[str, Any] = {"over": {"units": [2, 3]}, "folds": 2, "epochs": 1, "verbose": 0}
    first = gpunn.search(build, X, Y, folder=tmp_path, **given)
    next(tmp_path.glob("trials/*.gpunn")).unlink()
    assert_same(gpunn.search(build, X, Y, folder=tmp_path, **given), first)


@pytest.mark.parametrize("text", ["[]", "", "[" * 100_000], ids=["list", "empty", "deep"])
def test_a_damaged_folder_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "search.json").write_text(text)
    with pytest.raises(ValueError, match=r"Cannot read .*search\.json: it is damaged"):
        gpunn.search(build, X, Y, over=[{}], folds=2, verbose=0, folder=tmp_path)


def test_a_folder_is_of_one_search_at_a_time(tmp_path: Path) -> None:
    def again(k: int) -> Any:
        def search(logs: Any) -> None:
            gpunn.search(build, X, Y, over=[{}], folds=2, verbose=0, folder=tmp_path)

        return LambdaCallback(on_train_begin=search)

    with pytest.raises(RuntimeError, match="Another search uses the folder"):
        gpunn.search(build, X, Y, over=[{}], folds=2, verbose=0, folder=tmp_path, callbacks=again)


# -- what goes wrong


def test_a_point_that_diverges_is_named_and_last() -> None:
    def line(rate: float) -> Any:
        model = gpunn.Sequential([layers.Input((2,)), layers.Dense(1)])
        model.compile(gpunn.optimizers.SGD(rate), "mse")
        return model

    with pytest.warns(UserWarning, match=r"2 of 6 trials ended by an error: .*'rate': 1e\+30"):
        study = gpunn.search(line, X, Y, over={"rate": [1e30, 0.1, 0.01]}, folds=2, epochs=4,
                             verbose=0)  # fmt: skip
    assert np.isnan(study.scores[0]) and study.table()[-1]["rate"] == 1e30
    assert study.best.point["rate"] in (0.1, 0.01)
    with pytest.raises(NonFiniteLossError, match="there is nothing to compare"):
        gpunn.search(line, X, Y, over={"rate": [1e30]}, folds=2, epochs=4, verbose=0)


SAME = build()
REFUSED: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "over": ({"over": 3}, TypeError, "over must be a dictionary"),
    "empty": ({"over": []}, ValueError, "over has no points"),
    "no values": ({"over": {"units": []}}, ValueError, r"over\['units'\] is empty"),
    "text": ({"over": {"units": "abc"}}, TypeError, r"over\['units'\] must be a list"),
    "a set": ({"over": {"units": {4, 5}}}, TypeError, r"over\['units'\] must be a list"),
    "draws": ({"over": {"rate": stats.uniform()}}, ValueError, "say how many points to draw"),
    "trials": ({"trials": 3, "over": [{}]}, ValueError, "a list has its own points"),
    "seeds": ({"seeds": []}, ValueError, "seeds must be"),
    "same seeds": ({"seeds": [1, 1]}, ValueError, "different seeds"),
    "build": ({"build": 3}, TypeError, "build must be a function"),
    "no model": ({"build": lambda **point: 3}, TypeError, "build must return"),
    "uncompiled": (
        {"build": lambda **point: gpunn.Sequential([layers.Dense(1)])}, ValueError, "not compiled"),
    "same model": ({"build": lambda **point: SAME}, ValueError, "make a new model at each call"),
    "no rows": ({"folds": None}, ValueError, "needs rows to validate on"),
    "two ways": ({"validation_split": 0.5}, ValueError, "folds already say"),
    "two ways over": ({"over": {"validation_split": [0.5]}}, ValueError, "folds already say"),
    "no rows for one": (
        {"over": [{"validation_split": 0.5}, {}], "folds": None}, ValueError, "needs rows"),
    "one fold": ({"folds": 1}, ValueError, "folds must be"),
    "many folds": ({"folds": 61}, ValueError, "leave folds without a row"),
    "no folds": ({"folds": "five"}, TypeError, "folds must be"),
    "folds by groups": ({"folds": GroupKFold(2)}, ValueError, "groups"),
    "class of folds": ({"folds": KFold}, TypeError, "folds must be"),
    "rows": ({"folds": [([0], [99])]}, ValueError, r"held out\[0\] holds the row 99"),
    "monitor": ({"monitor": "val_f1"}, ValueError, "val_f1"),
    "shortened monitor": ({"monitor": "val_acc"}, ValueError, "Did you mean 'val_accuracy'"),
    "no monitor": ({"monitor": 3}, TypeError, "monitor must be the name of a figure of fit; got 3"),
    "unknown": ({"epoch": 3}, TypeError, r"no argument 'epoch'. Did you mean 'epochs'"),
    "halving": ({"halving": 1}, ValueError, "halving must be"),
    "one epoch": ({"halving": 2, "epochs": 1}, ValueError, "halving=2 divides epochs, which is 1"),
    "epochs": ({"halving": 2, "over": {"epochs": [1]}}, ValueError, "halving chooses the epochs"),
    "executor": ({"executor": 3}, TypeError, "executor must be"),
    "class of executors": ({"executor": ThreadPoolExecutor}, TypeError, "executor must be"),
    "folder": ({"over": {"units": [object()]}, "folder": "here"}, TypeError, "folder keeps points"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_wrong_arguments_are_refused(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    change, error, message = REFUSED[case]
    with pytest.raises(error, match=message):
        gpunn.search(**{"build": build, "x": X, "y": Y, **GIVEN, **change})
    assert os.listdir(tmp_path) == []


def test_what_cannot_be_sent_to_processes_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cloudpickle", None)
    message = "Define build in a module, or install cloudpickle"
    with ProcessPoolExecutor(1) as pool, pytest.raises(TypeError, match=message):
        gpunn.search(lambda: build(), X, Y, over=[{}], folds=2, executor=pool, verbose=0)
