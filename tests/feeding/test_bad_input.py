"""Test typical mistakes in a user's data: an error before the first step explains each of them."""

from __future__ import annotations

import contextlib
import io
import warnings
from typing import Any

import hypothesis
import hypothesis.extra.numpy
import hypothesis.strategies as st
import numpy as np
import pytest
import scipy.sparse

import gpunn
from gpunn.feeding.arrays import check_finite

layers = gpunn.layers
ROWS = 12
RANDOM = np.random.default_rng(0)
X = RANDOM.random((ROWS, 4)).astype("float32")
LABELS = np.arange(ROWS) % 3
ONE_HOT = np.eye(3, dtype="float32")[LABELS]
SIGNS = np.arange(ROWS) % 2
IMAGES = RANDOM.random((ROWS, 5, 6)).astype("float32")

Refused = (ValueError, TypeError)


def changed(array: Any, index: Any, value: Any) -> np.ndarray:
    result = np.array(array, dtype=np.result_type(array, type(value)))
    result[index] = value
    return result


class HookRecorder(gpunn.callbacks.Callback):
    """Remembers which hooks were called."""

    def __init__(self) -> None:
        self.hooks: list[str] = []


def _remembers(hook: str) -> Any:
    return lambda self, *args, **logs: self.hooks.append(hook)


for _hook in [name for name in vars(gpunn.callbacks.Callback) if name.startswith("on_")]:
    setattr(HookRecorder, _hook, _remembers(_hook))


KINDS: dict[str, tuple[Any, Any, int, str, str]] = {
    # x, y, units, last activation, loss
    "sparse": (X, LABELS, 3, "softmax", "sparse_categorical_crossentropy"),
    "categorical": (X, ONE_HOT, 3, "softmax", "categorical_crossentropy"),
    "binary": (X, SIGNS, 1, "sigmoid", "binary_crossentropy"),
    "regression": (X, X[:, :2], 2, "linear", "mse"),
    "images": (IMAGES, LABELS, 3, "softmax", "sparse_categorical_crossentropy"),
}


def model_of(kind: str, backend: str) -> Any:
    x, _, units, activation, loss = KINDS[kind]
    model = gpunn.Sequential(
        [
            layers.Input(x.shape[1:]),
            *([layers.Flatten()] if x.ndim > 2 else []),
            layers.Dense(units, activation=activation),
        ],
        backend=backend,
    )
    model.compile(optimizer=gpunn.optimizers.SGD(0.1), loss=loss, metrics=["accuracy"])
    return model


class Generator(tuple):
    """Batches that the test hands over as something that can be read once."""


RAGGED = [[1.0, 2.0, 3.0, 4.0]] * (ROWS - 1) + [[1.0, 2.0]]

# the mistake: (model, changed arguments of fit, what the message must contain)
FIT: dict[str, tuple[str, dict[str, Any], list[str]]] = {
    # x
    "one sample without the batch axis": (
        "sparse", {"x": X[0]}, ["x has shape (4,)", "(batch, 4)", "numpy.newaxis"]),
    "one image without the batch axis": (
        "images", {"x": IMAGES[0], "y": LABELS[:1]},
        ["x has shape (5, 6)", "(batch, 5, 6)", "numpy.newaxis"]),
    "x transposed": ("sparse", {"x": X.T}, ["x has shape (4, 12)", "(batch, 4)", "x.T"]),
    "one column too few": ("sparse", {"x": X[:, :3]}, ["x has shape (12, 3)", "(batch, 4)"]),
    "flat rows for images": (
        "images", {"x": IMAGES.reshape(ROWS, 30)},
        ["x has shape (12, 30)", "(batch, 5, 6)", "x.reshape(-1, 5, 6)"]),
    "images with channels": (
        "images", {"x": IMAGES[..., None].repeat(3, -1)}, ["x has shape (12, 5, 6, 3)"]),
    "images with two axes too many": (
        "images", {"x": IMAGES[..., None, None]},
        ["x has shape (12, 5, 6, 1, 1)", "x.reshape(-1, 5, 6)"]),
    "images for flat rows": ("sparse", {"x": IMAGES}, ["x has shape (12, 5, 6)", "(batch, 4)"]),
    "NaN in x": (
        "sparse", {"x": changed(X, (7, 2), np.nan)}, ["x holds nan at [7, 2]", "finite"]),
    "infinity in x": ("sparse", {"x": changed(X, (3, 0), -np.inf)}, ["x holds -inf at [3, 0]"]),
    "float64 beyond float32": (
        "sparse", {"x": changed(X, (3, 0), np.float64(1e300))},
        ["x holds 1e+300 at [3, 0]", "float32"]),
    "no rows": ("sparse", {"x": X[:0], "y": LABELS[:0]}, ["x is empty", "(0, 4)"]),
    "an empty list": ("sparse", {"x": [], "y": []}, ["x has shape (0,)", "(batch, 4)"]),
    "x missing": ("sparse", {"x": None}, ["x is missing"]),
    "x a number": ("sparse", {"x": 3.0}, ["x has shape ()", "(batch, 4)"]),
    "strings": ("sparse", {"x": X.astype(str)}, ["x must hold real numbers", "<U"]),
    "objects": ("sparse", {"x": X.astype(object)}, ["x must hold real numbers", "object"]),
    "missing entries": ("sparse", {"x": [[1.0, None, 2.0, 3.0]] * ROWS}, ["x must hold", "object"]),
    "complex numbers": (
        "sparse", {"x": X.astype(complex)},
        ["x must hold real numbers", "complex"]),
    "dates": ("sparse", {"x": np.zeros((ROWS, 4), "M8[s]")}, ["x must hold real", "datetime64"]),
    "masked values": (
        "sparse", {"x": np.ma.masked_less(X, 0.5)}, ["x has masked values", "fill them"]),
    "a ragged list": ("sparse", {"x": RAGGED}, ["x cannot be read", "rows differ in length"]),
    "a dictionary": (
        "sparse", {"x": {"a": X, "b": X}}, ["x must be an array", "dictionary", "['a', 'b']"]),
    "a file name": ("sparse", {"x": "x_train.npy"}, ["x must be an array", "'x_train.npy'"]),
    "a set": ("sparse", {"x": {1.0, 2.0}}, ["x must be an array"]),
    "something else": (
        "sparse", {"x": object(), "y": None}, ["x must be arrays, or yield batches", "object"]),
    "a sparse matrix": (
        "sparse", {"y": scipy.sparse.csr_array(X)}, ["y is a sparse matrix", "toarray()"]),
    "x and y as one tuple": (
        "regression", {"x": (X, X), "y": None}, ["x has shape (2, 12, 4)", "tuple", "x, y"]),
    # y
    "y missing": ("sparse", {"y": None}, ["y is missing"]),
    "rows missing in y": ("sparse", {"y": LABELS[:-1]}, ["y has 11 rows", "x has 12"]),
    "y a number": ("sparse", {"y": 1}, ["y has no rows", "x has 12"]),
    "label out of range": ("sparse", {"y": changed(LABELS, 5, 3)}, ["y", "label 3", "0 to 2"]),
    "labels from 1": ("sparse", {"y": LABELS + 1}, ["y", "label 3", "0 to 2"]),
    "negative label": ("sparse", {"y": changed(LABELS, 5, -1)}, ["y", "label -1", "0 to 2"]),
    "label 1.5": ("sparse", {"y": changed(LABELS, 5, 1.5)}, ["y", "whole class numbers", "1.5"]),
    "label NaN": ("sparse", {"y": changed(LABELS, 5, np.nan)}, ["y", "whole class numbers", "nan"]),
    "label infinite": ("sparse", {"y": changed(LABELS, 5, np.inf)}, ["y", "inf"]),
    "names of classes": (
        "sparse", {"y": np.array(["cat", "dog", "eel"])[LABELS]}, ["y must hold real", "<U3"]),
    "one-hot rows for class numbers": (
        "sparse", {"y": ONE_HOT}, ["y has shape (12, 3)", "(12,)", "categorical_crossentropy"]),
    "class numbers for one-hot rows": (
        "categorical", {"y": LABELS},
        ["y has shape (12,)", "(12, 3)", "sparse_categorical_crossentropy", "to_categorical"]),
    "class numbers in a column for one-hot rows": (
        "categorical", {"y": LABELS[:, None].astype(float)},
        ["y has shape (12, 1)", "(12, 3)", "sparse_categorical_crossentropy"]),
    "a class too many in one-hot rows": (
        "categorical", {"y": np.eye(4)[LABELS]}, ["y has shape (12, 4)", "(12, 3)"]),
    "scores of 0 to 100": (
        "categorical", {"y": ONE_HOT * 100}, ["y has values from 0 to 100", "0 to 1"]),
    "labels -1 and 1": (
        "binary", {"y": SIGNS * 2 - 1}, ["y has values from -1 to 1", "from 0 to 1"]),
    "two columns for one output": (
        "binary", {"y": np.eye(2)[SIGNS]}, ["y has shape (12, 2)", "(12, 1)"]),
    "one target for two outputs": (
        "regression", {"y": X[:, 0]}, ["y has shape (12,)", "(12, 2)", "broadcast"]),
    "NaN in y": ("regression", {"y": changed(X[:, :2], (4, 1), np.nan)}, ["y holds nan at [4, 1]"]),
    "y transposed": ("regression", {"y": X[:, :2].T}, ["y has 2 rows", "x has 12"]),
    # weights
    "weights of other rows": (
        "sparse", {"sample_weight": np.ones(5)},
        ["sample_weight has shape (5,); (12,) is expected"]),
    "weights by class": (
        "sparse", {"sample_weight": np.ones((ROWS, 3))},
        ["sample_weight has shape (12, 3)", "(12,)"]),
    "NaN in weights": (
        "sparse", {"sample_weight": changed(np.ones(ROWS), 2, np.nan)},
        ["sample_weight holds nan at [2]"]),
    "both weights": (
        "sparse", {"sample_weight": np.ones(ROWS), "class_weight": {0: 1.0}},
        ["class_weight and sample_weight", "both"]),
    "names as classes": ("sparse", {"class_weight": {"cat": 2.0}}, ["class_weight", "'cat'"]),
    "half a class": ("sparse", {"class_weight": {0.5: 2.0}}, ["class_weight", "0.5"]),
    "a class that is not there": (
        "sparse", {"class_weight": {3: 2.0}}, ["class_weight", "key 3", "0 to 2"]),
    "a class of weight NaN": (
        "sparse", {"class_weight": {1: float("nan")}}, ["class_weight[1]", "nan"]),
    "a class of negative weight": (
        "binary", {"class_weight": {1: -1.0}},
        ["class_weight[1]", "-1.0"]),
    "a class of no number": ("sparse", {"class_weight": {1: "2"}}, ["class_weight[1]", "'2'"]),
    "other words for class weights": (
        "sparse", {"class_weight": "balance"}, ["class_weight", "'balanced'", "'balance'"]),
    "balanced numbers": (
        "regression", {"class_weight": "balanced"},
        ["class_weight='balanced'", "class", "regression"]),
    "a list of class weights": (
        "sparse", {"class_weight": [1.0, 2.0]},
        ["class_weight", "dictionary"]),
    # numbers
    "batch size 0": ("sparse", {"batch_size": 0}, ["batch_size", "at least 1", "got 0"]),
    "batch size -1": ("sparse", {"batch_size": -1}, ["batch_size", "at least 1", "got -1"]),
    "batch size 2.5": ("sparse", {"batch_size": 2.5}, ["batch_size", "integer", "got 2.5"]),
    "batch size True": ("sparse", {"batch_size": True}, ["batch_size", "integer", "got True"]),
    "batch size a text": ("sparse", {"batch_size": "32"}, ["batch_size", "integer", "got '32'"]),
    "batch size a list": ("sparse", {"batch_size": np.ones(2)}, ["batch_size", "integer"]),
    "epochs -1": ("sparse", {"epochs": -1}, ["epochs", "at least 0", "got -1"]),
    "epochs 1.5": ("sparse", {"epochs": 1.5}, ["epochs", "integer", "got 1.5"]),
    "initial epoch -1": ("sparse", {"initial_epoch": -1}, ["initial_epoch", "got -1"]),
    "no steps": ("sparse", {"steps_per_epoch": 0}, ["steps_per_epoch", "at least 1", "got 0"]),
    "no validation steps": ("sparse", {"validation_steps": 0}, ["validation_steps", "got 0"]),
    "validation batches of 0": (
        "sparse", {"validation_batch_size": 0}, ["validation_batch_size", "got 0"]),
    "validation every 0 epochs": ("sparse", {"validation_freq": 0}, ["validation_freq", "got 0"]),
    "validation after epoch 0": (
        "sparse", {"validation_freq": [0, 2]},
        ["validation_freq", "got 0"]),
    "validation split 1.2": ("sparse", {"validation_split": 1.2}, ["validation_split", "got 1.2"]),
    "validation split -0.1": (
        "sparse", {"validation_split": -0.1},
        ["validation_split", "got -0.1"]),
    "validation split 1.0": ("sparse", {"validation_split": 1.0}, ["validation_split", "got 1.0"]),
    "validation split True": (
        "sparse", {"validation_split": True},
        ["validation_split", "got True"]),
    "validation split a text": (
        "sparse", {"validation_split": "0.2"},
        ["validation_split", "'0.2'"]),
    "validation split of no rows": (
        "sparse", {"validation_split": 0.99}, ["validation_split=0.99", "0 rows for training"]),
    "unknown split": (
        "sparse", {"validation_split": 0.25, "validation_strategy": "stratify"},
        ["validation_strategy", "'stratify'", "Did you mean 'stratified'"]),
    "a stratified regression": (
        "regression", {"validation_split": 0.25, "validation_strategy": "stratified"},
        ["validation_strategy", "cross-entropy"]),
    "verbose 3": ("sparse", {"verbose": 3}, ["verbose", "0, 1, 2", "got 3"]),
    "verbose a list": ("sparse", {"verbose": [1]}, ["verbose", "got [1]"]),
    "a function as a callback": ("sparse", {"callbacks": [print]}, ["callbacks", "print"]),
    "a class as a callback": (
        "sparse", {"callbacks": [gpunn.callbacks.TerminateOnNaN]}, ["callbacks", "TerminateOnNaN"]),
    # validation data
    "validation data of one part": (
        "sparse", {"validation_data": X}, ["validation_data", "(x, y)", "ndarray"]),
    "validation data of four parts": (
        "sparse", {"validation_data": (X, LABELS, None, None)}, ["validation_data", "4 parts"]),
    "validation data a dictionary": (
        "sparse", {"validation_data": {"x": X, "y": LABELS}}, ["validation_data", "dict"]),
    "NaN in the validation data": (
        "sparse", {"validation_data": (changed(X, (1, 1), np.nan), LABELS)},
        ["validation_data: x holds nan at [1, 1]"]),
    "label out of range in the validation data": (
        "sparse", {"validation_data": (X, LABELS + 1)}, ["validation_data: y", "label 3"]),
    "validation data of another shape": (
        "sparse", {"validation_data": (X[:, 1:], LABELS)},
        ["validation_data: x has shape (12, 3)"]),
    "validation data exchanged": (
        "sparse", {"validation_data": (LABELS, X)}, ["validation_data: x has shape (12,)"]),
    "NaN in the validation weights": (
        "sparse", {"validation_data": (X, LABELS, np.full(ROWS, np.nan))},
        ["validation_data: sample_weight holds nan at [0]"]),
    # batches
    "a generator for two epochs": (
        "sparse", {"x": Generator([(X, LABELS)]), "y": None, "epochs": 2},
        ["x is a generator", "steps_per_epoch"]),
    "a generator to validate twice on": (
        "sparse", {"validation_data": Generator([(X, LABELS)]), "epochs": 2},
        ["validation_data is a generator", "validation_steps"]),
    "a generator and y": (
        "sparse", {"x": Generator([(X, LABELS)])}, ["x yields batches", "own y"]),
    "a generator and weights": (
        "sparse", {"x": Generator([(X, LABELS)]), "y": None, "sample_weight": np.ones(ROWS)},
        ["x yields batches", "own sample_weight"]),
    "a generator and a validation split": (
        "sparse", {"x": Generator([(X, LABELS)]), "y": None, "validation_split": 0.5},
        ["validation_split", "validation_data"]),
    "a generator of nothing": ("sparse", {"x": Generator(), "y": None}, ["x yields no batch"]),
    "a batch without y": ("sparse", {"x": Generator([X]), "y": None}, ["batch 0", "y is missing"]),
    "a batch of four parts": (
        "sparse", {"x": Generator([(X, LABELS, 1, 2)]), "y": None}, ["batch 0", "4 parts"]),
    "a batch of dictionaries": (
        "sparse", {"x": Generator([({"pixels": X}, LABELS)]), "y": None},
        ["batch 0", "dictionary"]),
    "a batch with NaN": (
        "sparse", {"x": [(changed(X, (0, 1), np.nan), LABELS)], "y": None},
        ["batch 0: x holds nan"]),
    "single samples instead of batches": (
        "sparse", {"x": list(zip(X, LABELS, strict=True)), "y": None},
        ["batch 0: x has shape (4,)", "batch axis"]),
}  # fmt: skip


@pytest.mark.parametrize("what", FIT)
def test_fit_refuses(what: str, backend: str) -> None:
    kind, arguments, fragments = FIT[what]
    model, recorder = model_of(kind, backend), HookRecorder()
    before = model.get_weights()
    x, y = KINDS[kind][:2]
    given = {"callbacks": [recorder], "verbose": 0, **arguments}
    given = {k: iter(v) if isinstance(v, Generator) else v for k, v in given.items()}
    with pytest.raises(Refused) as caught:
        model.fit(**{"x": x, "y": y, **given})
    for fragment in fragments:
        assert fragment in str(caught.value)
    assert recorder.hooks == []
    for was, now in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(was, now)
    # The model still works.
    history = model.fit(x, y, verbose=0).history
    assert np.isfinite(history["loss"]).all()


@pytest.mark.parametrize("row", [0, 65_535, 65_536, 299_999])
def test_one_number_among_many_is_found(row: int, backend: str) -> None:
    x = np.ones((300_000, 4), np.float32)
    x[row, 3] = np.inf
    with pytest.raises(ValueError, match=rf"x holds inf at \[{row}, 3\]"):
        model_of("sparse", backend).fit(x, np.zeros(len(x), np.int32), verbose=0)


def test_a_bad_batch_later_on_is_named(backend: str) -> None:
    model = model_of("sparse", backend)
    given = [(X, LABELS), (X, LABELS), (X[:, 1:], LABELS)]
    with pytest.raises(ValueError, match=r"batch 2: x has shape \(12, 3\)"):
        model.fit(given, verbose=0)


@pytest.mark.parametrize("method", ["evaluate", "train_on_batch", "test_on_batch"])
def test_the_other_methods_refuse_likewise(method: str, backend: str) -> None:
    model = model_of("sparse", backend)
    before = model.get_weights()
    mistakes = ["NaN in x", "label out of range", "rows missing in y", "y missing", "x transposed"]
    for what in mistakes:
        _, arguments, fragments = FIT[what]
        with pytest.raises(Refused) as caught:
            getattr(model, method)(**{"x": X, "y": LABELS, **arguments})
        assert all(fragment in str(caught.value) for fragment in fragments)
    for was, now in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(was, now)


@pytest.mark.parametrize("method", ["predict", "predict_on_batch", "__call__"])
def test_prediction_refuses_likewise(method: str, backend: str) -> None:
    model = model_of("sparse", backend)
    for what in ("NaN in x", "no rows", "strings", "a ragged list", "a dictionary", "x transposed"):
        _, arguments, fragments = FIT[what]
        with pytest.raises(Refused) as caught:
            getattr(model, method)(arguments["x"])
        assert all(fragment in str(caught.value) for fragment in fragments)


# -- arbitrary arguments

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 40), st.floats(), st.text(max_size=3),
    st.just([]), st.just({}), st.just(b"x"), st.just(print), st.just(np.ones(2)), st.just(1j),
    st.builds(np.float32, st.floats(width=32)), st.builds(np.int64, st.integers(-3, 40)),
)  # fmt: skip
KINDS_OF_NUMBERS = st.one_of(
    hypothesis.extra.numpy.scalar_dtypes(), st.just(np.dtype("O")), st.just(np.dtype("float32"))
)
SHAPES = st.one_of(
    hypothesis.extra.numpy.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5),
    st.just((6, 4)), st.just((6,)), st.just((6, 1)), st.just((6, 3)),
)  # fmt: skip
THINGS = st.one_of(
    SCALARS,
    hypothesis.extra.numpy.arrays(KINDS_OF_NUMBERS, SHAPES),
    st.lists(st.one_of(SCALARS, st.lists(SCALARS, max_size=4)), max_size=6),
    st.lists(st.tuples(SCALARS, SCALARS), min_size=1, max_size=3),
)
LOSS = {"sparse": X[:6], "categorical": X[:6], "binary": X[:6], "regression": X[:6]}
ARGUMENTS = [
    "x", "y", "sample_weight", "class_weight", "batch_size", "epochs", "validation_split",
    "validation_data", "steps_per_epoch", "initial_epoch", "verbose", "validation_freq",
]  # fmt: skip


@hypothesis.settings(
    max_examples=400, derandomize=True, database=None,
    suppress_health_check=list(hypothesis.HealthCheck),
)  # fmt: skip
@hypothesis.given(
    kind=st.sampled_from(list(LOSS)), argument=st.sampled_from(ARGUMENTS), thing=THINGS
)
def test_whatever_comes_is_taken_or_refused_with_its_name(
    kind: str, argument: str, thing: Any
) -> None:
    """A wrong argument is never ignored, and never causes an error in a lower layer."""
    model, recorder = model_of(kind, "numpy"), HookRecorder()
    before = model.get_weights()
    given = {"x": X[:6], "y": KINDS[kind][1][:6], "verbose": 0, argument: thing}
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # data that run out
            history = model.fit(**given, callbacks=[recorder]).history
    except Refused as error:
        assert argument.split("_")[0] in str(error)
        assert recorder.hooks == []
        for was, now in zip(before, model.get_weights(), strict=True):
            np.testing.assert_array_equal(was, now)
    except gpunn.models.NonFiniteLossError:
        assert argument in ("x", "y", "sample_weight", "class_weight")  # finite, but huge
    else:
        assert np.isfinite(history.get("loss", [])).all()


# -- a loss that is not a number


def test_a_loss_that_is_no_number_stops_training(backend: str) -> None:
    """The rate is so high that the weights, all equal, grow by the same factor each step."""
    weight = layers.Dense(1, use_bias=False, kernel_initializer="ones")
    model = gpunn.Sequential([layers.Input((1,)), weight], backend=backend)
    rate = 1e4
    model.compile(optimizer=gpunn.optimizers.SGD(rate), loss="mse")
    x = np.ones((6, 1), "float32")
    # loss = w^2, so w becomes w (1 - 2 rate); the first loss beyond float32 occurs in this step:
    w, step = np.float32(1.0), 1
    with np.errstate(over="ignore"):
        while np.isfinite(w * w):
            w, step = np.float32(w * (1 - 2 * rate)), step + 1
    # 2 steps per epoch
    epoch, step_of_epoch = (step - 1) // 2 + 1, (step - 1) % 2 + 1
    for _ in range(2):
        model.set_weights([np.ones((1, 1))])
        with pytest.raises(gpunn.models.NonFiniteLossError) as caught:
            model.fit(x, x * 0, batch_size=3, epochs=20, verbose=0)
        text = str(caught.value)
        assert f"in epoch {epoch}, step {step_of_epoch}." in text
        assert "learning rate" in text
        assert "10000" in text
        assert "Rescaling" in text


def test_a_loss_that_is_no_number_with_terminate_on_nan(backend: str) -> None:
    """As in Keras: training ends there, and History keeps the epoch."""
    model = model_of("regression", backend)
    model.optimizer.learning_rate = 1e10
    recorder = HookRecorder()
    history = model.fit(
        X, X[:, :2], batch_size=2, epochs=9, verbose=0,
        callbacks=[gpunn.callbacks.TerminateOnNaN(), recorder],
    ).history  # fmt: skip
    assert not np.isfinite(history["loss"][-1])
    assert len(history["loss"]) < 9
    assert recorder.hooks.count("on_train_batch_end") < 9 * 6
    assert recorder.hooks[-1] == "on_train_end"


def test_a_hook_for_each_batch_makes_no_difference_to_the_step_that_is_named() -> None:
    messages = []
    for callbacks in ([], [HookRecorder()]):
        last = layers.Dense(2, kernel_initializer="ones")
        model = gpunn.Sequential([layers.Input((4,)), last])
        model.compile(gpunn.optimizers.SGD(1e8), "mse")
        with pytest.raises(gpunn.models.NonFiniteLossError) as caught:
            model.fit(X, X[:, :2], batch_size=1, verbose=0, shuffle=False, callbacks=callbacks)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("given", ["float16", "float32", "float64", "longdouble"])
@pytest.mark.parametrize(
    "value", [0.0, -65504.0, 1e19, 1e25, 3.4e38, 3.5e38, 1e160, 1e308, np.inf, -np.inf, np.nan]
)
def test_what_is_finite_is_taken_without_a_word(value: float, given: str, dtype: str) -> None:
    """Even if its square overflows the dtype."""
    with np.errstate(over="ignore"):
        x = np.ones((5, 4), given)
        x[2, 3] = value
        finite = bool(np.isfinite(x.astype(dtype)).all())
    refused = pytest.raises(ValueError, match=r"x holds .* at \[2, 3\]")
    with contextlib.nullcontext() if finite else refused:
        check_finite(gpunn.get_backend("numpy"), x, dtype, "x")
