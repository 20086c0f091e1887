"""Test that the same values train the same model as arrays, tensors, files or batches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import gpunn
from gpunn.feeding.data import is_array

layers = gpunn.layers
ROWS, FEATURES, CLASSES, BATCH = 20, 6, 3, 8
RANDOM = np.random.default_rng(3)
NUMBERS = RANDOM.integers(0, 100, (ROWS, FEATURES))
X = NUMBERS.astype("float32")
LABELS = RANDOM.integers(0, CLASSES, ROWS)
ONE_HOT = np.eye(CLASSES, dtype="float32")[LABELS]
BACKENDS = ["numpy", "compiled", "emulated"]
SPARSE = "sparse_categorical_crossentropy"


def model_of(
    loss: Any = SPARSE, backend: str = "numpy", dtype: str = "float32", activation: str = "softmax"
) -> Any:
    gpunn.utils.set_random_seed(11)
    model = gpunn.Sequential(
        [layers.Input((FEATURES,)), layers.Dense(CLASSES, activation=activation)],
        backend=backend,
        dtype=dtype,
    )
    model.compile(optimizer=gpunn.optimizers.SGD(1e-3), loss=loss)
    return model


def trained(
    x: Any, y: Any = LABELS, loss: Any = SPARSE, backend: str = "numpy", **more: Any
) -> Any:
    """The weights after two shuffled epochs of three steps, the last with four rows."""
    model = model_of(loss, backend)
    model.fit(x, y, epochs=2, verbose=0, **{"batch_size": BATCH, **more})
    return model.get_weights()


def assert_same(weights: Any, others: Any) -> None:
    for w, other in zip(weights, others, strict=True):
        assert_array_equal(w, other)


class Capsule:
    """It supports only DLPack."""

    def __init__(self, array: np.ndarray) -> None:
        self._array = array

    def __dlpack__(self, **options: Any) -> Any:
        return self._array.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._array.__dlpack_device__()


class OnGpu:
    """It exposes what a CuPy array does to a reader without CuPy."""

    def __init__(self, array: np.ndarray) -> None:
        self._array = array
        self.__cuda_array_interface__ = {"version": 3}
        self.shape, self.ndim, self.dtype = array.shape, array.ndim, array.dtype

    def get(self) -> np.ndarray:
        return self._array


class AsArray:
    """It supports only NumPy's protocol, as a data frame does."""

    def __init__(self, array: np.ndarray) -> None:
        self._array = array

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return self._array.astype(dtype or self._array.dtype)


# -- dtypes and layouts

DTYPES = [
    "bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64",
    "float16", "float32", "float64", "longdouble", ">i4", ">f4", ">f8",
]  # fmt: skip


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_real_dtype(dtype: str, backend: str) -> None:
    """The values reach the first layer as they are: 0 to 100, not 0 to 1."""
    numbers = NUMBERS % 2 if dtype == "bool" else NUMBERS
    given, plain = numbers.astype(dtype), numbers.astype("float32")
    assert_same(trained(given, backend=backend), trained(plain, backend=backend))
    model = model_of(backend=backend)
    assert_array_equal(model.predict(given, verbose=0), model.predict(plain, verbose=0))
    assert_array_equal(model.predict_on_batch(given), model.predict_on_batch(plain))
    assert model.train_on_batch(given, LABELS) == model_of(backend=backend).train_on_batch(
        plain, LABELS
    )


def test_bytes_keep_their_values() -> None:
    model = gpunn.Sequential([layers.Input((2,)), layers.Activation("linear")])
    assert model.predict(np.array([[0, 255]], "uint8"), verbose=0).tolist() == [[0.0, 255.0]]
    model = gpunn.Sequential([layers.Input((2,)), layers.Rescaling(1 / 255)])
    assert model.predict(np.array([[0, 255]], "uint8"), verbose=0).tolist() == [[0.0, 1.0]]


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int64", "uint64", "float16", "float64", ">i4"])
def test_every_dtype_of_labels(dtype: str) -> None:
    assert_same(trained(X, LABELS.astype(dtype)), trained(X))


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64", "float16", "float64", "longdouble"])
def test_every_dtype_of_targets(dtype: str) -> None:
    loss = "categorical_crossentropy"
    assert_same(trained(X, ONE_HOT.astype(dtype), loss), trained(X, ONE_HOT, loss))


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64", "float16", "float64"])
def test_every_dtype_of_weights(dtype: str) -> None:
    weights = (np.arange(ROWS) % 2).astype(dtype)
    expected = trained(X, sample_weight=weights.astype("float32"))
    assert_same(trained(X, sample_weight=weights), expected)


def _read_only(x: np.ndarray) -> np.ndarray:
    x = x.copy()
    x.flags.writeable = False
    return x


LAYOUTS: dict[str, Any] = {
    "Fortran order": np.asfortranarray,
    "a transposed view": lambda x: np.ascontiguousarray(x.T).T,
    "every other row": lambda x: np.repeat(x, 2, axis=0)[::2],
    "every other column": lambda x: np.repeat(x, 2, axis=1)[:, ::2],
    "backwards": lambda x: x[::-1].copy()[::-1],
    "read-only": _read_only,
    "broadcast": lambda x: np.broadcast_to(x, (1, *x.shape))[0],
    "a matrix": lambda x: x.view(np.matrix),
    "a masked array without masked values": np.ma.asarray,
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
def test_every_layout(layout: str, backend: str) -> None:
    for dtype in ("float32", "float64", "uint8"):
        given = LAYOUTS[layout](NUMBERS.astype(dtype))
        assert_array_equal(given, NUMBERS)
        assert_same(trained(given, backend=backend), trained(X, backend=backend))


WRAPPINGS: dict[str, Any] = {
    "lists": lambda x: x.tolist(),
    "tuples": lambda x: tuple(map(tuple, x.tolist())) if x.ndim > 1 else tuple(x.tolist()),
    "a list of rows": list,
    "DLPack": Capsule,
    "a GPU's array": OnGpu,
    "an __array__": AsArray,
}


# The emulated GPU has its own arrays: see the test after this one.
@pytest.mark.parametrize(
    ("wrapping", "backend"),
    [(w, b) for w in WRAPPINGS for b in BACKENDS if (w, b) != ("a GPU's array", "emulated")],
)
def test_every_wrapping(wrapping: str, backend: str) -> None:
    wrap = WRAPPINGS[wrapping]
    weights = np.arange(ROWS) / 7
    for x in (X, NUMBERS):
        given = trained(wrap(x), wrap(LABELS), sample_weight=wrap(weights), backend=backend)
        assert_same(given, trained(X, sample_weight=weights, backend=backend))
    model = model_of(backend=backend)
    expected = model.evaluate(X, LABELS, verbose=0)
    assert model.evaluate(wrap(X), wrap(LABELS), verbose=0) == expected
    assert_array_equal(model.predict(wrap(X), verbose=0), model.predict(X, verbose=0))


def test_arrays_of_the_device_are_not_copied() -> None:
    backend = gpunn.backends.get_backend("emulated")
    x, y = backend.upload(X), backend.upload(LABELS)
    model = model_of(backend="emulated")
    assert np.shares_memory(gpunn.feeding.data.to_rows(model._trainer.spec, x, y).x, x)
    assert_same(trained(x, y, backend="emulated"), trained(X, backend="emulated"))
    wide = trained(backend.upload(X.astype("float64")), y, backend="emulated")
    assert_same(wide, trained(X, backend="emulated"))
    broken = X.copy()
    broken[5, 1] = np.nan
    with pytest.raises(ValueError, match=r"x holds nan at \[5, 1\]"):
        trained(backend.upload(broken), y, backend="emulated")


def test_tensors() -> None:
    torch = pytest.importorskip("torch")
    x, y = torch.from_numpy(X), torch.from_numpy(LABELS)
    weights = torch.arange(ROWS) / 7
    expected = trained(X, sample_weight=np.arange(ROWS, dtype="float32") / 7)
    assert_same(trained(x, y, sample_weight=weights), expected)
    assert_same(trained(x.double(), y.int(), sample_weight=weights.double()), expected)
    with pytest.raises(ValueError, match=r"x cannot be read .* requires grad"):
        trained(x.clone().requires_grad_(), y)


@pytest.mark.parametrize("loader", ["DataLoader", "list of its batches"])
def test_a_data_loader(loader: str) -> None:
    torch = pytest.importorskip("torch")
    pairs = torch.utils.data.TensorDataset(torch.from_numpy(X), torch.from_numpy(LABELS))
    source: Any = torch.utils.data.DataLoader(pairs, batch_size=BATCH)
    if loader != "DataLoader":
        source = list(source)
    weights = trained(source, None, batch_size=None, validation_data=source)
    assert_same(weights, trained(X, shuffle=False))


# -- dtypes that differ from the model's


@pytest.mark.parametrize("backend", BACKENDS)
def test_models_of_either_dtype_take_data_of_the_other(backend: str) -> None:
    narrow, wide = X / np.float32(7), X.astype("float64") / 7
    for dtype, x, y in (("float64", narrow, ONE_HOT), ("float32", wide, ONE_HOT.astype("float64"))):
        model = model_of("categorical_crossentropy", backend, dtype)
        same = model_of("categorical_crossentropy", backend, dtype)
        model.fit(x, y, verbose=0)
        same.fit(x.astype(dtype), y.astype(dtype), verbose=0)
        assert_same(model.get_weights(), same.get_weights())
        assert model.get_weights()[0].dtype == dtype
        assert model.predict(x, verbose=0).dtype == dtype


def test_float64_data_is_not_rounded_on_the_way_into_a_float64_model() -> None:
    """1/3 in float32 is wrong in the eighth digit."""
    model = gpunn.Sequential([layers.Input((1,)), layers.Activation("linear")], dtype="float64")
    assert model.predict(np.array([[1 / 3]]), verbose=0)[0, 0] == 1 / 3


# -- batches


class Again:
    """It can be iterated again each epoch."""

    def __init__(self, pairs: list[Any]) -> None:
        self.pairs = pairs
        self.passes = 0

    def __iter__(self) -> Iterator[Any]:
        self.passes += 1
        return iter(self.pairs)


class Items:
    """Length, items and hook, like Keras's PyDataset."""

    def __init__(self, pairs: list[Any]) -> None:
        self.pairs = pairs
        self.epochs = 0

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Any:
        return self.pairs[index]

    def on_epoch_end(self) -> None:
        self.epochs += 1


def pairs(weights: np.ndarray | None = None, size: int = BATCH) -> list[Any]:
    arrays = (X, LABELS) if weights is None else (X, LABELS, weights)
    return [tuple(a[at : at + size] for a in arrays) for at in range(0, ROWS, size)]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("source", [list, tuple, Again, Items])
@pytest.mark.parametrize("weighted", [False, True])
def test_batches_that_can_be_had_again(source: Any, weighted: bool, backend: str) -> None:
    """Three batches, the last one smaller, as `fit` slices them from the arrays."""
    weights = np.arange(ROWS, dtype="float32") / 7 if weighted else None
    given = source(pairs(weights))
    expected = trained(X, sample_weight=weights, shuffle=False, backend=backend)
    assert_same(trained(given, None, batch_size=None, backend=backend), expected)
    model = model_of(backend=backend)
    assert model.evaluate(given, verbose=0) == pytest.approx(
        model.evaluate(X, LABELS, sample_weight=weights, verbose=0), rel=1e-6
    )
    if isinstance(given, Items):
        assert given.epochs == 3


def test_batches_of_lists_and_of_lists_of_two() -> None:
    as_lists = [(x.tolist(), y.tolist()) for x, y in pairs()]
    assert_same(trained(as_lists, None), trained(X, shuffle=False))
    assert_same(trained([list(pair) for pair in pairs()], None), trained(X, shuffle=False))


def test_a_generator_of_both_epochs() -> None:
    weights = trained((pair for pair in pairs() * 2), None, steps_per_epoch=3)
    assert_same(weights, trained(X, shuffle=False))


def test_an_endless_generator_is_read_no_further_than_needed() -> None:
    taken = 0

    def endless() -> Iterator[Any]:
        nonlocal taken
        while True:
            for pair in pairs():
                taken += 1
                yield pair

    source = endless()
    model = model_of()
    model.fit(source, steps_per_epoch=3, epochs=2, verbose=0)
    assert taken == 6
    assert_same(model.get_weights(), trained(X, shuffle=False))
    model.fit(source, steps_per_epoch=2, verbose=0)  # it continues where it stopped
    assert taken == 8
    model.evaluate(source, steps=4, verbose=0)
    assert taken == 12
    model.predict(source, steps=3, verbose=0)
    assert taken == 15


def test_class_weights_reach_batches() -> None:
    by_class = {0: 0.5, 2: 3.0}
    weights = trained(pairs(), None, class_weight=by_class)
    assert_same(weights, trained(X, class_weight=by_class, shuffle=False))
    assert not np.array_equal(weights[0], trained(X, shuffle=False)[0])


def test_batches_of_every_size() -> None:
    """Steps on 20, 1, 7, 20 ... rows equal `train_on_batch` on each batch in turn."""
    sizes = [20, 1, 7, 20, 3, 2, 5, 9, 11, 13, 17, 19, 20, 4, 1]
    rows = RANDOM.integers(0, ROWS, (len(sizes), 20))
    given = [(X[r[:n]], LABELS[r[:n]]) for r, n in zip(rows, sizes, strict=True)]
    model = model_of()
    model.fit(given, verbose=0)
    one_by_one = model_of()
    for x, y in given:
        one_by_one.train_on_batch(x, y)
    assert_same(model.get_weights(), one_by_one.get_weights())
    outputs = model.predict((x for x, _ in given), verbose=0)
    assert outputs.shape == (sum(sizes), CLASSES)


def test_a_batch_larger_than_the_data_is_all_of_it() -> None:
    assert_same(trained(X, batch_size=1000), trained(X, batch_size=ROWS))
    model = model_of()
    assert model.evaluate(X, LABELS, batch_size=1000, verbose=0) == model.evaluate(
        X, LABELS, batch_size=ROWS, verbose=0
    )


@pytest.mark.parametrize(
    ("given", "one_array"),
    [
        ([(0.0, 1.0), (1.0, 0.0)], True),
        ([[0.0, 1.0], [1.0, 0.0]], True),
        ([np.zeros(2), np.zeros(2)], True),
        ([np.float64(1.0)], True),
        ([], True),
        (np.zeros((2, 2)), True),
        ([[np.zeros(2)] * 5] * 2, True),
        ([(np.zeros((2, 2)), np.zeros(2))], False),
        ([[np.zeros((2, 2)), np.zeros(2)]], False),
        (([[0.0, 1.0]], [1]), True),
        ([([[0.0, 1.0]], [1])], False),
        (iter([]), False),
        (range(3), False),
    ],
)
def test_what_is_an_array_and_what_are_batches(given: Any, one_array: bool) -> None:
    assert is_array(given) is one_array


# -- targets and weights of other shapes


@pytest.mark.parametrize("backend", BACKENDS)
def test_columns(backend: str) -> None:
    weights = np.arange(ROWS, dtype="float32") / 7
    expected = trained(X, sample_weight=weights, backend=backend)
    given = trained(X, LABELS[:, None], sample_weight=weights[:, None], backend=backend)
    assert_same(given, expected)

    def binary(y: np.ndarray) -> Any:
        gpunn.utils.set_random_seed(4)
        model = gpunn.Sequential(
            [layers.Input((FEATURES,)), layers.Dense(1, activation="sigmoid")], backend=backend
        )
        model.compile(optimizer="sgd", loss="binary_crossentropy", metrics=["accuracy"])
        model.fit(X / 100, y, verbose=0)
        return model.get_weights()

    assert_same(binary(LABELS % 2), binary((LABELS % 2)[:, None]))


def test_single_numbers_as_samples() -> None:
    """x of shape (rows,) for one input, as in many first scripts."""
    gpunn.utils.set_random_seed(0)
    model = gpunn.Sequential([layers.Input((1,)), layers.Dense(1)])
    model.compile(optimizer=gpunn.optimizers.SGD(0.1), loss="mse")
    x = np.array([-1.0, 0.0, 1.0, 2.0, 3.0])
    model.fit(x, 2 * x - 1, epochs=300, verbose=0)
    assert model.predict(np.array([10.0]), verbose=0)[0, 0] == pytest.approx(19.0, abs=1e-3)


@pytest.mark.parametrize("method", ["predict", "evaluate", "fit"])
def test_no_rows_is_an_error_everywhere(method: str) -> None:
    model = model_of()
    given = {"x": X[:0]} if method == "predict" else {"x": X[:0], "y": LABELS[:0]}
    with pytest.raises(ValueError, match="x is empty"):
        getattr(model, method)(**given, verbose=0)
    with pytest.raises(ValueError, match="no batch"):
        getattr(model, method)(iter([]), verbose=0)


def test_a_mistake_in_the_first_data_does_not_spoil_a_model_that_was_not_built() -> None:
    model = gpunn.Sequential([layers.Flatten(), layers.Dense(CLASSES, activation="softmax")])
    model.compile(optimizer="sgd", loss=SPARSE)
    for x, y in ((X[0], LABELS), (X.T, LABELS), (X.tolist()[0], LABELS.tolist())):
        with pytest.raises(ValueError, match="y has shape"):
            model.fit(x, y, verbose=0)
    with pytest.raises(ValueError, match="batch axis"):
        model.predict(3.0)
    model.fit(X, LABELS, verbose=0)
    assert model.input_shape == (None, FEATURES)
