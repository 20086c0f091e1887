"""Few pictures, changed at random: a folder of 200 training pictures, with and without.

MNIST's digits are written as PNG files into a folder for each class, 20 of each; 2,000 others are
held out. A small convolutional network learns from the folder. Then the same network learns with
layers before it that turn, zoom and shift each picture a little, anew in each step: it never sees
the same picture twice, and errs less on pictures that it has not seen.

Run:       python examples/few_pictures.py [--epochs 60] [--each 20]
Takes:     about ten seconds.
Prints:    loss and accuracy on the training pictures and on those held out, for both.
Saves:     few_pictures.png, if matplotlib is installed: changed pictures, and both losses.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

import gpunn
from gpunn import layers, utils

SIZE, BATCH = 28, 20


def write_folder(folder, images, labels, each):
    """Write the first pictures of each class as FOLDER/class/number.png."""
    for digit in range(10):
        inside = Path(folder, str(digit))
        inside.mkdir(parents=True)
        for number, image in enumerate(images[labels == digit][:each]):
            utils.save_img(inside / f"{number:03}.png", image[:, :, None], scale=False)


def changes():
    """Return the layers that change pictures at random in training, and nothing when predicting."""
    return [
        layers.RandomRotation(0.05, fill_mode="constant"),  # at most 18 degrees
        layers.RandomZoom(0.15, fill_mode="constant"),
        layers.RandomTranslation(0.1, 0.1, fill_mode="constant"),
    ]


def network(before):
    gpunn.utils.set_random_seed(0)
    model = gpunn.Sequential([
        gpunn.Input((SIZE, SIZE, 1)), layers.Rescaling(1 / 255), *before,
        layers.Conv2D(16, 3, activation="relu"), layers.MaxPooling2D(),
        layers.Conv2D(32, 3, activation="relu"), layers.MaxPooling2D(),
        layers.Flatten(), layers.Dropout(0.3), layers.Dense(10, "softmax"),
    ])  # fmt: skip
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def plot(pictures, histories, path):
    try:
        from matplotlib import pyplot as plt
    except ImportError:
        return
    figure = plt.figure(figsize=(9, 3.4), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1, 1.1))
    for place, picture in zip(left.subplots(4, 6).flat, pictures, strict=True):
        place.imshow(picture, cmap="gray_r", vmin=0, vmax=1)
        place.axis("off")
    axes = right.subplots()
    for name, history in histories.items():
        (line,) = axes.semilogy(history["val_loss"], label=f"{name}, held out")
        axes.semilogy(history["loss"], "--", lw=1, color=line.get_color())
    axes.set(xlabel="epoch", ylabel="loss (dashed: while learning)")
    axes.legend(frameon=False)
    figure.savefig(path, dpi=120)
    plt.close(figure)
    print(f"saved {path}")


def main():
    parser = argparse.ArgumentParser(description="Learn from few pictures, changed at random.")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--each", type=int, default=20, help="training pictures of each class")
    options = parser.parse_args()

    (images, labels), (x_test, y_test) = gpunn.datasets.mnist.load_data()
    held_out = x_test[:2_000, :, :, None], y_test[:2_000]
    with tempfile.TemporaryDirectory() as folder:
        write_folder(folder, images, labels, options.each)
        pictures = utils.image_dataset_from_directory(
            folder, color_mode="grayscale", image_size=(SIZE, SIZE), batch_size=BATCH, seed=0
        )
        histories = {}
        for name, before in (("as they are", []), ("changed at random", changes())):
            model = network(before)
            begun = time.perf_counter()
            history = model.fit(
                pictures, epochs=options.epochs, validation_data=held_out, verbose=0
            ).history
            seconds, histories[name] = time.perf_counter() - begun, history
            loss, accuracy = model.evaluate(*held_out, verbose=0)
            print(f"{name}: {seconds:.0f} s")
            print(f"  learning  loss {history['loss'][-1]:.3f}  {history['accuracy'][-1]:.3f}")
            print(f"  held out  loss {loss:.3f}  {accuracy:.3f}")
    one = np.repeat(images[[7]], 24, axis=0)[..., None] / np.float32(255)
    for change in changes():
        one = change(one, training=True)
    plot(np.asarray(one)[..., 0], histories, "few_pictures.png")


if __name__ == "__main__":
    main()
