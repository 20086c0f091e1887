"""`BatchNormalization` and `Softmax` with masks, beside Keras."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

import gpunn
from gpunn import layers, ops

pytestmark = pytest.mark.filterwarnings("ignore")  # of Keras
RANDOM = np.random.default_rng(8)
X = RANDOM.normal(2.0, 3.0, (6, 5, 4)).astype("float32")
MASK = np.arange(5) < np.array([5, 2, 1, 0, 4, 3])[:, None]  # one sample has no steps
ZEROED = np.where(MASK[..., None], X, 0.0).astype("float32")  # for `Masking`


def numpy_of(x: Any) -> np.ndarray:
    return np.asarray(x.detach()) if hasattr(x, "detach") else np.asarray(x)


@pytest.mark.parametrize("axis", [-1, 2])
@pytest.mark.parametrize("training", [True, False])
def test_statistics_are_of_what_counts(
    keras: Any, every_backend: str, axis: int, training: bool
) -> None:
    gpunn.use_backend(every_backend)
    found = []
    for module in (keras, gpunn):
        layer = module.layers.BatchNormalization(axis=axis, momentum=0.7)
        ys = [layer(X, training=training, mask=MASK) for _ in range(2)]
        ys.append(layer(X, training=training, mask=np.zeros_like(MASK)))  # none counts
        found.append([*map(numpy_of, ys), *layer.get_weights()])
    for theirs, ours in zip(*found, strict=True):
        assert_allclose(ours, theirs, rtol=2e-5, atol=2e-5)


def models(module: Any, **options: Any) -> Any:
    """Return a model with a mask that a layer passes on, and one with a mask that it is given."""
    of, x, m = module.layers, module.Input((5, 4)), module.Input((5,), dtype="bool")
    first, second = (
        [of.BatchNormalization(momentum=0.5), of.LSTM(3), of.Dense(1)] for _ in range(2)
    )
    return (
        module.Sequential([module.Input((5, 4)), of.Masking(), *first], **options),
        module.Model([x, m], second[2](second[1](second[0](x, mask=m))), **options),
    )


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("path", [None, "model.gpunn", "model.keras"])
def test_training_behind_a_mask_is_kerass(
    keras: Any, every_backend: str, which: int, path: str | None, tmp_path: Path
) -> None:
    theirs, ours = models(keras)[which], models(gpunn, backend=every_backend)[which]
    data = [ZEROED, MASK] if which else ZEROED
    targets = RANDOM.normal(size=(6, 1)).astype("float32")
    ours.set_weights(theirs.get_weights())
    if path is not None:
        ours.save(tmp_path / path)
        ours = gpunn.models.load_model(tmp_path / path)
    for model, module in ((theirs, keras), (ours, gpunn)):
        model.compile(module.optimizers.SGD(0.1), "mse")
        model.fit(data, targets, epochs=3, batch_size=4, shuffle=False, verbose=0)
    for one, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        assert_allclose(one, other, rtol=2e-4, atol=2e-5)
    assert_allclose(ours.predict(data), theirs.predict(data, verbose=0), rtol=2e-4, atol=2e-5)


def test_gradients_flow_through_the_moments(doubles: None) -> None:
    layer = layers.BatchNormalization(dtype="float64")
    x, weights = X[:3].astype("float64"), RANDOM.normal(size=(3, 5, 4))

    def loss(x: Any) -> Any:
        return ops.sum(layer(x, training=True, mask=MASK[:3]) * weights)

    found = gpunn.grad(loss)(x).numpy()
    for at in ((0, 0, 0), (1, 4, 2), (2, 0, 3)):
        step = np.zeros_like(x)
        step[at] = 1e-5
        slope = (float(loss(x + step)) - float(loss(x - step))) / 2e-5
        assert_allclose(found[at], slope, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("axis", "mask"), [
    (-1, X[:, :, :] > 2), (-1, X[:1] > 2), (-1, np.array([True, False, True, True])),
    (1, X > 0), ((1, 2), X > 2), (-1, (X > 2).astype("float32") * 0.6), (-1, X > 100),
])  # fmt: skip
def test_softmax_of_what_counts(keras: Any, every_backend: str, axis: Any, mask: Any) -> None:
    gpunn.use_backend(every_backend)
    expected = numpy_of(keras.layers.Softmax(axis=axis)(X, mask=mask))
    ours = layers.Softmax(axis=axis)
    assert_allclose(ours(X, mask=mask), expected, atol=1e-6)
    x, m = gpunn.Input((5, 4)), gpunn.Input((5, 4), dtype="bool")
    whole = np.broadcast_to(mask, X.shape) > 0.5
    assert_allclose(gpunn.Model([x, m], ours(x, mask=m)).predict([X, whole]), expected, atol=1e-6)


def test_a_loss_behind_a_masked_softmax(keras: Any, every_backend: str) -> None:
    """The loss cannot read the logits, whose masked entries count nothing."""
    found, seen = [], np.array([[1, 1, 0], [1, 1, 1], [0, 1, 1], [1, 0, 1]], bool)
    x, classes = RANDOM.normal(size=(4, 2)).astype("float32"), np.array([0, 2, 1, 2])
    for module, options in ((keras, {}), (gpunn, {"backend": every_backend})):
        inputs = module.Input((2,)), module.Input((3,), dtype="bool")
        scores = module.layers.Dense(3, kernel_initializer="ones")(inputs[0])
        if module is keras:  # whose loss would take the mask for one of samples
            y = keras.ops.softmax(keras.ops.where(inputs[1], scores, -1e9))
        else:
            y = layers.Softmax()(scores, mask=inputs[1])
        model = module.Model(inputs, y, **options)
        model.compile(module.optimizers.SGD(0.5), "sparse_categorical_crossentropy")
        losses = model.fit([x, seen], classes, epochs=3, verbose=0).history["loss"]
        found.append((losses, model.predict([x, seen], verbose=0)))
    assert_allclose(found[1][0], found[0][0], rtol=1e-4)
    assert_allclose(found[1][1], found[0][1], atol=1e-5)


def test_an_exported_file_reads_masks(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    x, m = gpunn.Input((5, 4)), gpunn.Input((5, 4))
    y = layers.Softmax()(layers.BatchNormalization()(x, mask=m[:, :, 0] > 0), mask=m)
    model = gpunn.Model([x, m], y)
    model.export(tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    data = [X, (X > 2).astype("float32")]
    names = [entry.name for entry in session.get_inputs()]
    (found,) = session.run(None, dict(zip(names, data, strict=True)))
    assert_allclose(found, model.predict(data), atol=1e-5)


@pytest.mark.parametrize(("make", "message"), [
    (lambda: layers.BatchNormalization()(X, mask=MASK[:, :3], training=True), "without its last"),
    (lambda: layers.Softmax()(X, mask=MASK), "must broadcast"),
    (lambda: layers.Softmax()(X, mask=X[0, 0, :3] > 0), "must broadcast"),
    (lambda: layers.Dense(2)(X, mask=MASK), "takes no mask"),
])  # fmt: skip
def test_refused(make: Any, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        make()
