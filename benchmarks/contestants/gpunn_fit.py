"""gpunn through ``fit``, as users write it: bytes in, Rescaling in the model."""

from __future__ import annotations

import importlib
import os
from types import SimpleNamespace

import gpunn as keras

REQUIRES = ()
VARIANTS = {
    "gpunn": {"backend": "compiled"},
    "gpunn (NumPy)": {"backend": "numpy"},
    "gpunn (card)": {"backend": "cupy"},
    "gpunn, data there (card)": {"backend": "cupy", "on_device": True},
}
CONVOLVES = True
NOTE = (
    "fit with verbose=0. Nothing is prepared: fit takes the bytes, and scales each batch by the "
    "model's Rescaling. predict is of a model without it, since everybody predicts floats. Each "
    "fit sends its data to a GPU, but for \"data there\", which has them there as others do."
)


def network(work, backend, metrics=(), bytes_in=True, **options):
    """Return the workload's compiled model; ``options`` are the optimizer's."""
    if bytes_in:
        layers = [keras.Input((28, 28)), keras.layers.Rescaling(1 / 255), keras.layers.Flatten()]
    else:
        layers = [keras.Input((784 if "convolutions" in work else work["sizes"][0],))]
    if "convolutions" in work:
        layers += [keras.layers.Reshape((28, 28, 1))]
        for filters in work["convolutions"]:
            layers += [keras.layers.Conv2D(filters, 3, activation="relu")]
            layers += [keras.layers.MaxPooling2D()]
        layers += [keras.layers.Flatten()]
    layers += [keras.layers.Dense(units, activation="relu") for units in work["sizes"][1:-1]]
    if work["dropout"]:
        layers.append(keras.layers.Dropout(work["dropout"]))
    layers.append(keras.layers.Dense(work["sizes"][-1], activation="softmax"))
    model = keras.Sequential(layers, backend=backend)
    optimizer = {
        "sgd": lambda: keras.optimizers.SGD(0.01, **options),
        "momentum": lambda: keras.optimizers.SGD(0.01, momentum=0.9, **options),
        "adam": lambda: keras.optimizers.Adam(0.001, **options),
    }[work["optimizer"]]()
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy", *metrics])
    return model


def prepare(data, backend, verbose=0, callbacks=None, on_device=False):
    if backend == "cupy" and os.environ.get("GPUNN_BACKEND") == "emulated":
        backend = "emulated"  # the GPU backend on machines without a GPU
        importlib.import_module(backend)
    work = data["workload"]
    keras.utils.set_random_seed(data.get("seed", 0))
    model = network(work, backend, bytes_in="largest" not in work)
    model.set_weights(data["weights"])
    x, y = data["x"], data["y"]
    if on_device:
        x, y = model.backend.upload(x), model.backend.upload(y.astype("int32"))
    predictor, learned = None, True

    def epoch():
        nonlocal learned
        learned = True
        options = {"batch_size": work["batch"], "verbose": verbose, "callbacks": callbacks}
        past = model.fit(x, y, **options).history
        return past["loss"][0], past["accuracy"][0]

    def accuracy():
        return model.evaluate(data["x_test"], data["y_test"], verbose=0)[1]

    def up_to_date():
        nonlocal predictor, learned
        if predictor is None:
            predictor = network(work, backend, bytes_in=False)
        predictor.set_weights(model.get_weights())
        learned = False

    def predict(images):
        if learned:
            up_to_date()
        return predictor.predict(images, verbose=0)

    def predict_on_batch(images):
        if learned:
            up_to_date()
        return predictor.predict_on_batch(images)

    return SimpleNamespace(
        epoch=epoch,
        accuracy=accuracy,
        predict=predict,
        predict_on_batch=predict_on_batch,
        weights=model.get_weights,
    )


if __name__ == "__main__":
    from cold import main

    main(prepare, VARIANTS)
