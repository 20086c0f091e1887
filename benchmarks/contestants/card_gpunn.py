"""gpunn on the card, through ``fit`` and ``predict`` as its users write them: bytes in."""

import importlib
import os

import gpunn as keras


def prepare(data):
    work, backend = data["workload"], os.environ["GPUNN_BACKEND"]
    if backend == "emulated":
        importlib.import_module("emulated")
    keras.utils.set_random_seed(0)
    layers = [keras.Input((28, 28)), keras.layers.Rescaling(1 / 255), keras.layers.Flatten()]
    for units in work["sizes"][1:-1]:
        layers.append(keras.layers.Dense(units, activation="relu"))
        if work["dropout"]:
            layers.append(keras.layers.Dropout(work["dropout"]))
    layers.append(keras.layers.Dense(work["sizes"][-1], activation="softmax"))
    model = keras.Sequential(layers, backend=backend)
    optimizer = {
        "sgd": keras.optimizers.SGD(0.01),
        "momentum": keras.optimizers.SGD(0.01, momentum=0.9),
        "adam": keras.optimizers.Adam(0.001),
    }[work["optimizer"]]
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.set_weights(data["weights"])

    def train(epochs=work["times"]):
        model.fit(data["x"], data["y"], batch_size=work["batch"], epochs=epochs, verbose=0)

    def predict():
        for _ in range(work["times"]):
            model.predict(data["x_test"], verbose=0)

    def accuracy():
        return model.evaluate(data["x_test"], data["y_test"], verbose=0)[1]

    if work["predicts"]:
        train(1)
    return predict if work["predicts"] else train, accuracy
