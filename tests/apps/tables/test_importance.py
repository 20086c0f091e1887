"""Permutation importance of a table's columns, against scikit-learn's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.inspection import permutation_importance
from sklearn.metrics import log_loss, root_mean_squared_error

import gpunn
from gpunn import layers
from gpunn.apps.tables.importance import importance
from gpunn.apps.tables.preparing import Feature, prepared

KINDS = np.array(["a", "b", "c"], object)


def table_model(classes: int) -> Any:
    """A model of a number, a category and a number that it ignores, with fixed weights."""
    inputs, tensors = prepared(
        [Feature("size"), Feature("kind", categories=list(KINDS)), Feature("noise")]
    )
    encoded = layers.Concatenate()(tensors)
    weights = np.array([[2.0, -1.0], [0.0, 0.0], [0, 0], [1.0, -1.0], [0.0, 1.0], [-2.0, 0.5]])
    answer = layers.Dense(max(classes, 1), activation="softmax" if classes else None)
    model = gpunn.Model(inputs, answer(encoded))
    answer.set_weights([weights[:, : max(classes, 1)], np.zeros(max(classes, 1))])
    return model


def rows(count: int) -> dict[str, Any]:
    random = np.random.default_rng(0)
    size, noise = random.standard_normal((2, count, 1)).astype(np.float32)
    return {"size": size, "kind": KINDS[random.integers(0, 3, (count, 1))], "noise": noise}


@pytest.mark.parametrize("classes", [0, 2])
def test_importance_is_that_of_scikit_learn(classes: int) -> None:
    model, inputs = table_model(classes), rows(400)
    outputs = model.predict(inputs, verbose=0)
    random = np.random.default_rng(1)
    if classes:
        y = (random.random(400) < outputs[:, 1]).astype(int)
    else:
        y = outputs[:, 0] + random.normal(0, 0.5, 400)

    class Fitted:
        def fit(self, x: Any, y: Any) -> None: ...

    def score(_: Any, x: Any, y: Any) -> float:
        given = {name: x[:, [i]] for i, name in enumerate(inputs)}
        given = {n: v if n == "kind" else v.astype(np.float32) for n, v in given.items()}
        found = model.predict(given, verbose=0)
        return -(log_loss(y, found) if classes else root_mean_squared_error(y, found[:, 0]))

    x = np.hstack([values.astype(object) for values in inputs.values()])
    theirs = permutation_importance(Fitted(), x, y, scoring=score, n_repeats=30, random_state=0)
    ours = importance(model, inputs, y, classes, repeats=30)
    assert [name for name, *_ in ours] == [
        [*inputs][i] for i in np.argsort(-theirs.importances_mean)
    ]
    for name, mean, error in ours:
        at = [*inputs].index(name)
        their_error = theirs.importances_std[at] / np.sqrt(29)
        assert error == pytest.approx(their_error, rel=0.5, abs=1e-9)
        apart = abs(mean - theirs.importances_mean[at])
        assert apart <= 4 * np.hypot(error, their_error) + 1e-7
    assert ours[-1][0] == "noise" and ours[-1][1:] == pytest.approx((0, 0), abs=1e-9)


def test_importance_is_the_same_however_it_is_split_into_calls(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, inputs = table_model(0), rows(100)
    y = model.predict(inputs, verbose=0)[:, 0]
    calls = []
    predict = type(model).predict

    def counted(self: Any, x: Any, **others: Any) -> Any:
        calls.append(len(x["size"]))
        return predict(self, x, **others)

    monkeypatch.setattr(type(model), "predict", counted)
    once = importance(model, inputs, y, 0)
    assert sorted(calls) == [100, 1500]
    calls.clear()
    monkeypatch.setattr("gpunn.apps.tables.importance.VALUES", 1200)
    several = importance(model, inputs, y, 0)
    assert sorted(calls) == [100, 300, 400, 400, 400]
    for (name, *figures), (same, *others) in zip(once, several, strict=True):
        assert name == same and figures == pytest.approx(others, rel=1e-5)


def test_importance_draws_rows_and_repeats_itself() -> None:
    model, inputs = table_model(0), rows(500)
    before = {name: values.copy() for name, values in inputs.items()}
    y = model.predict(inputs, verbose=0)[:, 0]
    found = importance(model, inputs, y, 0, most_rows=50)
    assert found == importance(model, inputs, y, 0, most_rows=50)
    assert found != importance(model, inputs, y, 0, most_rows=50, seed=1)
    assert all((inputs[name] == before[name]).all() for name in inputs)
    everything = dict((name, mean) for name, mean, _ in importance(model, inputs, y, 0))
    assert dict((n, m) for n, m, _ in found)["size"] == pytest.approx(everything["size"], rel=0.4)
    with pytest.raises(ValueError, match="repeats"):
        importance(model, inputs, y, 0, repeats=1)
