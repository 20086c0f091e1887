"""gpunn through ``fit``, as its users write it: bytes in, Rescaling in the model."""

import gpunn as keras


def prepare(data):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((28, 28)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Flatten(),
            keras.layers.Dense(128, activation="relu"),
            keras.layers.Dropout(0.2),
            keras.layers.Dense(10, activation="softmax"),
        ],
        backend="numpy",
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.set_weights(data["weights"])

    def epoch():
        model.fit(data["x"], data["y"], batch_size=32, verbose=0)

    def accuracy():
        return model.evaluate(data["x_test"], data["y_test"], verbose=0)[1]

    return epoch, accuracy
