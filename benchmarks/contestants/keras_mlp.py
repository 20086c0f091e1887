"""Keras 3 on JAX and on PyTorch: compile and fit as users write it, and its fast settings."""

from __future__ import annotations

import os
from types import SimpleNamespace

import numpy as np

REQUIRES = ("keras",)  # and the backend's own package
VARIANTS = {
    "Keras 3 on JAX": {"backend": "jax", "device": "cpu"},
    "Keras 3 on JAX, 32 steps per execution": {"backend": "jax", "steps": 32, "device": "cpu"},
    "Keras 3 on PyTorch": {"backend": "torch", "device": "cpu"},
    "Keras 3 on PyTorch, jit_compile": {"backend": "torch", "jit": True, "device": "cpu"},
    "Keras 3 on JAX (card)": {"backend": "jax", "device": "cuda"},
    "Keras 3 on JAX, 32 steps per execution (card)": {
        "backend": "jax",
        "steps": 32,
        "device": "cuda",
    },
    "Keras 3 on PyTorch (card)": {"backend": "torch", "device": "cuda"},
    "Keras 3 on PyTorch, jit_compile (card)": {
        "backend": "torch",
        "jit": True,
        "device": "cuda",
    },
}
CONVOLVES = True
NOTE = (
    "fit with verbose=0. On JAX Keras compiles the step by itself, and steps_per_execution is "
    "its own advice for small models; on PyTorch it is eager unless jit_compile=True is given, "
    "and steps_per_execution is refused. predict takes all rows at once; one image goes through "
    "predict_on_batch, as Keras advises."
)


def prepare(data, backend, device="cpu", steps=1, jit="auto"):
    os.environ |= {
        "KERAS_BACKEND": backend,
        "NPROC": str(data["threads"]),  # read by XLA
        "JAX_PLATFORMS": device,
    }
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    if device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # Keras uses a GPU if PyTorch finds one
    import keras

    if backend == "torch":
        import torch

        torch.set_num_threads(data["threads"])
        torch.compiler.reset()  # otherwise earlier compilations count towards a limit
    else:
        import jax

        jax.config.update("jax_default_matmul_precision", "highest")
    work = data["workload"]
    keras.utils.set_random_seed(data.get("seed", 0))
    layers = [keras.Input((784,))]
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
    model = keras.Sequential(layers)
    model.set_weights(data["weights"])
    optimizer = {
        "sgd": keras.optimizers.SGD(0.01),
        "momentum": keras.optimizers.SGD(0.01, momentum=0.9),
        "adam": keras.optimizers.Adam(0.001),
    }[work["optimizer"]]
    model.compile(
        optimizer,
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
        steps_per_execution=steps,
        jit_compile=jit,
    )
    x = data["x"].reshape(-1, 784).astype(np.float32) / 255
    x_test = data["x_test"].reshape(-1, 784).astype(np.float32) / 255

    def epoch():
        past = model.fit(x, data["y"], batch_size=work["batch"], verbose=0).history
        return past["loss"][0], past["accuracy"][0]

    def predict(images):
        return model.predict(images, batch_size=len(images), verbose=0)

    def predict_on_batch(images):
        return np.asarray(model.predict_on_batch(images))

    def accuracy():
        return float((predict(x_test).argmax(1) == data["y_test"]).mean())

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
