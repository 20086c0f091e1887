"""The classic Keras script for MNIST. Only its import is changed.

The import was `import tensorflow as tf`. Everything below it is unchanged, including
the division that turns 47 MB of bytes into 376 MB of float64.

Run:       python examples/mnist_classic.py          (needs the extra "tensorboard")
Takes:     about 5 seconds on one CPU core, and the download of MNIST the first time.
Prints:    the table of layers (13,002 parameters), one line per epoch, and at the end
           a test accuracy of about 0.94.
Leaves:    logs/, for `tensorboard --logdir logs`: curves, and histograms of weights,
           gradients and activations.
"""

import gpunn as tf

mnist = tf.keras.datasets.mnist
(x_train, y_train), (x_test, y_test) = mnist.load_data()
x_train, x_test = x_train / 255.0, x_test / 255.0

model = tf.keras.models.Sequential(
    [
        tf.keras.layers.Flatten(input_shape=(28, 28)),
        tf.keras.layers.Dense(16, activation="relu"),
        tf.keras.layers.Dense(16, activation="relu"),
        tf.keras.layers.Dense(10, activation="softmax"),
    ]
)
model.compile(optimizer="sgd", loss="SparseCategoricalCrossentropy", metrics=["accuracy"])
model.summary()

logdir = "logs"
tensorboard = tf.keras.callbacks.TensorBoard(logdir, histogram_freq=1)
model.fit(
    x_train,
    y_train,
    epochs=5,
    batch_size=10,
    validation_data=(x_test, y_test),
    callbacks=[tensorboard],
)
model.evaluate(x_test, y_test, verbose=2)
