"""`get_state_tree` and `set_state_tree` of models, and the variables of optimizers and metrics."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import gpunn

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning"  # of Keras
)

X = np.random.default_rng(0).standard_normal((8, 3)).astype("float32")
Y = X[:, :2] ** 2
OPTIMIZERS: dict[str, dict[str, Any]] = {
    "SGD": {"momentum": 0.9}, "Adam": {"amsgrad": True}, "Adagrad": {}, "Adadelta": {},
    "Adamax": {}, "RMSprop": {"momentum": 0.5, "centered": True}, "Lion": {}, "Ftrl": {},
}  # fmt: skip


def made(m: Any, optimizer: Any) -> Any:
    m.utils.set_random_seed(0)
    inputs = m.Input((3,))
    x = m.layers.BatchNormalization(name="scale")(inputs)
    model = m.Model(inputs, m.layers.Dense(2, name="line")(x), name="net")
    model.compile(optimizer, "mse", metrics=["mae"])
    return model


def paths(tree: Any, path: str = "") -> list[str]:
    found: list[str] = []
    for name, value in tree.items():
        inner = f"{path}/{name}"
        found += paths(value, inner) if isinstance(value, dict) else [inner]
    return sorted(found)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_it_has_keras_s_paths_and_values(keras: Any, name: str) -> None:
    how = OPTIMIZERS[name]
    models = [made(m, getattr(m.optimizers, name)(0.05, name="o", **how)) for m in (gpunn, keras)]
    start = models[1].get_weights()
    for model in models:
        model.set_weights(start)
        model.fit(X, Y, batch_size=4, shuffle=False, verbose=0)
    ours, theirs = (model.get_state_tree(value_format="numpy_array") for model in models)
    for part in ("trainable_variables", "non_trainable_variables", "optimizer_variables"):
        assert paths(ours[part]) == paths(theirs[part])
        for path in paths(ours[part]):
            one, other = ours[part], theirs[part]
            for key in path.strip("/").split("/"):
                one, other = one[key], other[key]
            assert_allclose(one, other, rtol=2e-4, atol=1e-6, err_msg=path)


def test_a_model_goes_on_from_the_tree_of_another(backend: str) -> None:
    gpunn.use_backend(backend)
    one, other = made(gpunn, "adam"), made(gpunn, gpunn.optimizers.Adam(0.5))
    one.fit(X, Y, batch_size=4, shuffle=False, verbose=0)
    other.set_state_tree(one.get_state_tree())
    assert other.optimizer.iterations == 2
    for model in (one, other):
        model.fit(X, Y, batch_size=4, shuffle=False, verbose=0)
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        assert_allclose(a, b, rtol=1e-6)  # the learning rate is a float32 in a tree


def test_a_part_of_a_tree_is_set(keras: Any) -> None:
    tree = {
        "optimizer_variables": {"adam": {"iteration": 7, "learning_rate": 0.25}},
        "trainable_variables": {"line": {"bias": [1.0, 2.0]}},
    }
    for m in (gpunn, keras):
        model = made(m, m.optimizers.Adam(name="adam"))
        model.set_state_tree(tree)
        assert int(model.optimizer.iterations) == 7
        assert float(model.optimizer.learning_rate) == 0.25
        assert np.asarray(model.get_layer("line").get_weights()[1]).tolist() == [1.0, 2.0]


def test_errors_say_what_is_expected() -> None:
    model = made(gpunn, "adam")
    before = model.get_weights()
    good = {"line": {"bias": [1.0, 2.0]}}
    for tree, message in (
        ({"weights": {}}, "a key of state_tree must be one of trainable_variables"),
        ({"trainable_variables": {**good, "lime": {"bias": [0.0]}}}, "'lime/bias' is not in the"),
        ({"trainable_variables": {**good, "scale": {"beta": [0.0]}}}, "'scale/beta' has the"),
    ):
        with pytest.raises(ValueError, match=message):
            model.set_state_tree(tree)
    for a, b in zip(before, model.get_weights(), strict=True):
        assert_array_equal(a, b)
    with pytest.raises(ValueError, match="value_format must be one of backend_tensor, numpy_array"):
        model.get_state_tree(value_format="list")


def twice(m: Any) -> Any:
    class Twice(m.layers.Layer):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__(name="twice")
            self.a, self.b = m.layers.Dense(2, name="d"), m.layers.Dense(2, name="d")
            self.mean = m.metrics.Mean(name="mean")

        def call(self, x: Any) -> Any:
            return self.a(x) + self.b(x)

    return Twice()


def test_two_variables_of_one_path_are_refused(keras: Any) -> None:
    for m in (gpunn, keras):
        inputs = m.Input((3,))
        model = m.Model(inputs, twice(m)(inputs))
        model.compile("sgd", "mse")
        with pytest.raises(ValueError, match="is found twice in the model"):
            model.get_state_tree()


def test_weights_of_an_optimizer_are_set_from_another(keras: Any) -> None:
    """And saved and loaded by numbers."""
    for m in (gpunn, keras):
        one, other, third = m.optimizers.Adam(0.5), m.optimizers.Adam(), m.optimizers.Adam()
        x, y, z = (m.Variable([[1.0, 2.0], [3.0, 4.0]]) for _ in range(3))
        one.apply_gradients([(m.ops.ones((2, 2)), x)])
        assert one.built and not other.built
        with pytest.raises(ValueError, match=r"weights must have the shapes|You are"):
            other.set_weights(one.variables)
        other.build([y])
        other.set_weights(one.variables)
        for a, b in zip(one.variables, other.variables, strict=True):
            assert_allclose(m.ops.convert_to_numpy(a), m.ops.convert_to_numpy(b))
        store: dict[str, Any] = {}
        one.save_own_variables(store)
        third.build([z])
        third.load_own_variables(store)
        assert int(third.iterations) == 1 and float(third.learning_rate) == 0.5
        assert [v.name for v in third.variables[:2]] == ["iteration", "learning_rate"]
        assert third.variables[0] == 1
        third.variables[0].assign(5)
        assert int(third.iterations) == 5


@pytest.mark.parametrize(
    "options", [{}, {"use_ema": True}, {"gradient_accumulation_steps": 3}], ids=str
)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_goes_on_from_the_numbered_state_of_keras(
    keras: Any, name: str, options: dict[str, Any]
) -> None:
    """The slots of weights of one shape could be taken for each other."""
    gradients = [np.full((2, 2), k, "float32") for k in (0.5, -3.0)]
    weights = [np.full((2, 2), k, "float32") for k in (1.0, 2.0)]
    store: dict[str, Any] = {}
    found = []
    for m in (keras, gpunn):
        optimizer = getattr(m.optimizers, name)(0.1, **OPTIMIZERS[name], **options)
        variables = [m.Variable(w, name=f"w{k}") for k, w in enumerate(weights)]
        optimizer.build(variables)
        if m is keras:
            for _ in range(2):
                optimizer.apply(list(map(m.ops.convert_to_tensor, gradients)), variables)
            optimizer.save_own_variables(store)
            store = {k: np.array(m.ops.convert_to_numpy(v)) for k, v in store.items()}
            weights = [np.array(m.ops.convert_to_numpy(v)) for v in variables]
        else:
            optimizer.load_own_variables(store)
        optimizer.apply(list(map(m.ops.convert_to_tensor, gradients)), variables)
        names = [v.path.rpartition("/")[2] for v in optimizer.variables]
        found.append((names, [m.ops.convert_to_numpy(v) for v in variables]))
    (names, expected), (own_names, own) = found
    assert own_names == names
    assert_allclose(own, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["Mean", "MeanSquaredError", "CategoricalAccuracy"])
def test_means_have_total_and_count(keras: Any, name: str) -> None:
    pairs = [[0.0, 1.0], [1.0, 0.0]], [[0.5, 1.0], [0.0, 1.0]]
    given: Any = ([1.0, 5.0],) if name == "Mean" else pairs
    found = []
    for m in (gpunn, keras):
        metric = getattr(m.metrics, name)()
        metric.update_state(*given)
        found.append([(v.name, float(v)) for v in metric.variables])
        metric.variables[0].assign(10.0)
        assert float(metric.result()) == 5.0
        assert [v.name for v in m.layers.Dense(2).metrics_variables] == []
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("TruePositives", {"thresholds": [0.9, 0.2, 0.2]}), ("FalsePositives", {}),
        ("TrueNegatives", {"thresholds": [0.3, 0.6]}), ("FalseNegatives", {}),
        ("Precision", {"thresholds": [0.9, 0.2, 0.5]}), ("Recall", {}),
        ("AUC", {"num_thresholds": 9}), ("PrecisionAtRecall", {"recall": 0.4}),
    ],
)  # fmt: skip
def test_counts_have_variables_that_can_be_assigned(keras: Any, name: str, arguments: Any) -> None:
    rng = np.random.default_rng(0)
    y, p, weights = rng.integers(0, 2, 50), rng.random(50), rng.random(50)
    theirs, ours, other = (getattr(m.metrics, name)(**arguments) for m in (keras, gpunn, gpunn))
    state = ours.stateless_update_state(ours.variables, y, p, weights)
    for metric in (theirs, ours):
        metric.update_state(y, p, weights)
    expected = [np.array(v) for v in theirs.variables]
    assert [v.name for v in ours.variables] == [v.name for v in theirs.variables]
    for v, array, number in zip(other.variables, expected, state, strict=True):
        v.assign(array)
        assert_allclose(number, array, rtol=1e-5, atol=1e-5)
    for v, w, array in zip(ours.variables, other.variables, expected, strict=True):
        assert_allclose(v.numpy(), array, rtol=1e-5, atol=1e-5)
        assert_allclose(w.numpy(), array, rtol=1e-5, atol=1e-5)
    for found in (ours.result(), other.result(), ours.stateless_result(state)):
        assert_allclose(found, np.array(theirs.result()), rtol=1e-5, atol=1e-5)


def test_a_metric_written_for_keras_reads_its_dtype(keras: Any) -> None:
    for m in (gpunn, keras):

        class Largest(m.metrics.Metric):  # type: ignore[name-defined, misc]
            def __init__(self, lib: Any, **common: Any) -> None:
                super().__init__(**common)
                self.ops, self.most = lib.ops, self.add_weight((), "zeros", self._dtype)

            def update_state(self, y: Any, p: Any, sample_weight: Any = None) -> None:
                y = self.ops.cast(y, self._dtype)
                gap = self.ops.max(self.ops.abs(self.ops.subtract(y, p)))
                self.most.assign(self.ops.maximum(self.most, gap))

            def result(self) -> Any:
                return self.most

        metric = Largest(m, dtype="float32")
        metric.update_state(np.array([1, 2]), np.array([1.5, 0.25], "float32"))
        assert float(metric.result()) == 1.75


def test_metrics_of_a_layer_have_variables(keras: Any) -> None:
    for m in (gpunn, keras):
        assert [v.name for v in twice(m).metrics_variables] == ["total", "count"]


def test_where_trees_differ_from_kerass(keras: Any) -> None:
    """Paths in a chain begin with the layer; `fit` counts elsewhere than in the metrics."""
    trees = []
    for m in (gpunn, keras):
        model = m.Sequential([m.Input((3,)), m.layers.Dense(2, name="line")], name="chain")
        model.compile("sgd", "mse")
        model.fit(X, Y, verbose=0)
        trees.append(model.get_state_tree("numpy_array"))
    assert list(trees[0]["trainable_variables"]) == ["line"]
    assert list(trees[1]["trainable_variables"]) == ["chain"]
    counts = [float(tree["metrics_variables"]["loss"]["count"]) for tree in trees]
    assert counts == [0.0, 8.0]
