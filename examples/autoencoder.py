"""Unsupervised learning: an autoencoder compresses digits to two numbers, and detects anomalies.

A network 784-128-2-128-784 learns to reconstruct its input; the two numbers in the middle are
its code. It is compared with the best linear code of two numbers, by principal components (PCA).
A vote of the five nearest neighbours measures how well the code separates the digits; the
labels are used only for that and for the colours of the picture, not for training.

Then anomaly detection: an autoencoder trained only on zeros to eights reconstructs a nine, a
shirt or noise worse than familiar digits. The reconstruction error tells them apart, as measured
by the area under the ROC curve: clothes and noise nearly always, nines hardly, since they
consist of the strokes of other digits.

Run:       python examples/autoencoder.py [--epochs 10] [--rows 60000]
Takes:     about a minute on two CPU cores, and the downloads (MNIST, Fashion-MNIST).
Prints:    mean squared error of the reconstruction and accuracy of the neighbours, for both
           codes; the area under the ROC curve for three kinds of anomalies.
Saves:     autoencoder.png, if matplotlib is installed.
"""

import argparse

import numpy as np

import gpunn
from gpunn import layers, metrics


def make_autoencoder(code):
    """Return the autoencoder and its encoder, which share their layers."""
    gpunn.utils.set_random_seed(0)
    encoder = [layers.Dense(128, "relu"), layers.Dense(code, name="code")]
    decoder = [layers.Dense(128, "relu"), layers.Dense(784, "sigmoid")]
    whole = gpunn.Sequential([layers.Input((784,)), *encoder, *decoder])
    whole.compile("adam", "mse")
    return whole, gpunn.Sequential([layers.Input((784,)), *encoder])


def principal_components(x, count):
    """Return the mean and the directions (count, features) of largest variance."""
    mean = x.mean(axis=0)
    _, directions = np.linalg.eigh(np.cov(x - mean, rowvar=False))
    return mean, directions[:, ::-1][:, :count].T


def by_neighbours(code, y, new, y_new, count=5):
    """Return the fraction of ``new`` whose class is the majority of its nearest neighbours."""
    right = 0
    for at in range(0, len(new), 200):
        rows = new[at : at + 200]
        distance = ((rows[:, None] - code[None]) ** 2).sum(axis=2)
        nearest = y[np.argpartition(distance, count, axis=1)[:, :count]]
        votes = np.array([np.bincount(labels, minlength=10).argmax() for labels in nearest])
        right += int((votes == y_new[at : at + 200]).sum())
    return right / len(new)


def two_numbers(x, y, x_test, y_test, epochs):
    whole, encoder = make_autoencoder(2)
    whole.fit(x, x, batch_size=128, epochs=epochs, verbose=0)
    mean, directions = principal_components(x, 2)
    codes = {
        "autoencoder": (encoder.predict(x), encoder.predict(x_test), whole.predict(x_test)),
        "PCA": (
            (x - mean) @ directions.T,
            (x_test - mean) @ directions.T,
            (x_test - mean) @ directions.T @ directions + mean,
        ),
    }
    print(f"{'code of two numbers':22}{'error':>10}{'5 neighbours':>15}")
    for name, (code, new, restored) in codes.items():
        error = np.mean((restored - x_test) ** 2)
        share = by_neighbours(code[:10_000], y[:10_000], new[:2_000], y_test[:2_000])
        print(f"{name:22}{error:10.4f}{share:15.3f}")
    return {name: new for name, (_, new, _) in codes.items()}


def anomalies(x, y, x_test, y_test, clothes, epochs):
    whole, _ = make_autoencoder(32)
    whole.fit(x[y < 9], x[y < 9], batch_size=128, epochs=epochs, verbose=0)

    def errors(images):
        return np.mean((whole.predict(images) - images) ** 2, axis=1)

    usual = errors(x_test[y_test < 9])
    noise = np.random.default_rng(0).permuted(x_test[:1000], axis=1)
    print(f"\n{'learnt from 0 to 8':22}{'error':>10}{'area under ROC':>15}")
    print(f"{'0 to 8, new ones':22}{usual.mean():10.4f}")
    for name, images in (
        ("nines", x_test[y_test == 9]),
        ("clothes", clothes[:1000]),
        ("pixels shuffled", noise),
    ):
        found = errors(images)
        truth = np.repeat([0, 1], [len(usual), len(found)])
        area = metrics.roc_auc(truth, np.concatenate([usual, found]))
        print(f"{name:22}{found.mean():10.4f}{area:15.3f}")


def draw(codes, y_test):
    try:
        from matplotlib.figure import Figure
    except ImportError:
        print('no picture: pip install "gpunn[plot]"')
        return
    figure = Figure(figsize=(11, 5.2), layout="constrained")
    for ax, (name, code) in zip(figure.subplots(1, 2), codes.items(), strict=True):
        for digit in range(10):
            points = code[:2000][y_test[:2000] == digit]
            ax.scatter(*points.T, s=45, marker=f"${digit}$", linewidths=0.4)
        ax.set(title=f"{name}: a digit stands where its image is", xlabel="first number")
        ax.set_ylabel("second number")
    figure.savefig("autoencoder.png", dpi=150)


def main():
    parser = argparse.ArgumentParser(description="Autoencoders on MNIST.")
    parser.add_argument("--epochs", type=int, default=10, help="of each of the two")
    parser.add_argument("--rows", type=int, default=60_000, help="images to learn from")
    options = parser.parse_args()

    (x, y), (x_test, y_test) = gpunn.datasets.mnist.load_data()
    x, y = x[: options.rows], y[: options.rows]
    _, (clothes, _) = gpunn.datasets.fashion_mnist.load_data()
    x, x_test, clothes = (
        a.reshape(len(a), -1).astype(np.float32) / 255 for a in (x, x_test, clothes)
    )
    codes = two_numbers(x, y, x_test, y_test, options.epochs)
    anomalies(x, y, x_test, y_test, clothes, options.epochs)
    draw(codes, y_test)


if __name__ == "__main__":
    main()
