"""A network of one hidden layer that reads 98 % of the handwritten digits of MNIST.

784 pixels, 128 rectified units with dropout, 10 classes; Adam, batches of 32. The images
stay bytes: the first layer, Rescaling, is saved with the model, so a loaded model
takes unscaled images.

Run:       python examples/mnist_mlp.py [--epochs 5] [--seed 0] [--out mnist.gpunn]
Takes:     about 5 seconds on one CPU core, and the download of MNIST the first time.
Prints:    one line per epoch (the loss falls from about 0.30 to 0.07), a test accuracy
           of about 0.977, and three digits with the predictions of the saved model.
Saves:     the model; if matplotlib is installed, worst_mistakes.png and first_layer.png, the
           weights of the first 32 hidden units as images.
"""

import argparse

import gpunn
from gpunn import layers, plots

parser = argparse.ArgumentParser(description="Train a small network on MNIST.")
parser.add_argument("--epochs", type=int, default=5)
parser.add_argument("--seed", type=int, default=0, help="of weights, order and dropout")
parser.add_argument("--out", default="mnist.gpunn", help="file of the trained model")
options = parser.parse_args()

gpunn.utils.set_random_seed(options.seed)
(x_train, y_train), (x_test, y_test) = gpunn.datasets.mnist.load_data()

model = gpunn.Sequential(
    [
        layers.Input((28, 28)),
        layers.Rescaling(1 / 255),
        layers.Flatten(),
        layers.Dense(128, activation="relu"),
        layers.Dropout(0.2),
        layers.Dense(10, activation="softmax"),
    ]
)
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(x_train, y_train, batch_size=32, epochs=options.epochs)

loss, accuracy = model.evaluate(x_test, y_test, verbose=0)
print(f"test: loss {loss:.4f}, accuracy {accuracy:.4f}")

model.save(options.out)
loaded = gpunn.saving.load_model(options.out)
for digit, row in zip(y_test[:3], loaded.predict(x_test[:3]), strict=True):
    print(f"a {digit} is read as {row.argmax()}, probability {row.max():.4f}")

try:
    figures = {
        "worst_mistakes.png": plots.worst_mistakes(loaded, x_test, y_test),
        "first_layer.png": plots.first_layer(loaded),
    }
except ImportError:
    print('no picture: pip install "gpunn[plot]"')
else:
    for name, figure in figures.items():
        figure.savefig(name, dpi=150)
