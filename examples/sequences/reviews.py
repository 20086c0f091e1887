"""Good or bad? 50,000 film reviews, by an LSTM and by a convolution over the words.

IMDB's reviews (Maas et al., 2011) are lists of word indices; of each, the last 200 words are read.
Both networks embed the words. One runs an LSTM over them, which skips the padding; the other
applies 64 patterns of five words everywhere, and keeps the strongest answer of each (Kim, 2014).
With --folder, the reviews are text files in folders named after their class, and the words are
split and numbered here.

Run:       python examples/sequences/reviews.py [--epochs 3] [--folder FOLDER]
Takes:     about two minutes on two cores. Without --folder it downloads 17 MB.
Prints:    accuracy on held-out reviews, and seconds, of each network.
Saves:     reviews.png, if matplotlib is installed: the accuracy while they learn.
"""

import argparse
import time

import numpy as np

import gpunn
from gpunn import layers

WORDS, LENGTH = 20_000, 200


def from_imdb():
    train, test = gpunn.datasets.imdb.load_data(num_words=WORDS)
    return [(gpunn.utils.pad_sequences(x, LENGTH), y) for x, y in (train, test)]


def from_folder(folder):
    """Return the two parts of the texts in a folder, four fifths and one, as `from_imdb` does."""
    parts = gpunn.utils.text_dataset_from_directory(
        folder, validation_split=0.2, subset="both", seed=0, batch_size=None
    )
    texts = [list(part) for part in parts]
    vectorize = layers.TextVectorization(WORDS, output_sequence_length=LENGTH)
    vectorize.adapt([text for text, _ in texts[0]])
    return [
        (np.asarray(vectorize(np.array([t for t, _ in part]))), np.array([y for _, y in part]))
        for part in texts
    ]


def networks():
    """Return what stands between the embedded words and the answer, by name."""

    def convolution(x):
        return layers.GlobalMaxPooling1D()(layers.Conv1D(64, 5, activation="relu")(x))

    return {"LSTM": (True, layers.LSTM(64)), "convolution": (False, convolution)}


def plot(histories, path):
    try:
        from matplotlib import pyplot as plt
    except ImportError:
        return
    figure, axes = plt.subplots(figsize=(5, 3.2), layout="constrained")
    for name, history in histories.items():
        epochs = np.arange(1, len(history["accuracy"]) + 1)
        (line,) = axes.plot(epochs, history["val_accuracy"], "o-", label=f"{name}, held out")
        axes.plot(epochs, history["accuracy"], "o--", color=line.get_color(), lw=1, ms=3)
    axes.set(xlabel="epoch", ylabel="accuracy", xticks=epochs)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=120)
    plt.close(figure)
    print(f"saved {path}")


def main():
    parser = argparse.ArgumentParser(description="Tell good reviews from bad ones.")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--folder", help="texts in two folders, named after their classes")
    options = parser.parse_args()

    (x, y), held_out = from_folder(options.folder) if options.folder else from_imdb()
    print(f"{len(x):,} reviews to learn from, {len(held_out[0]):,} held out")
    histories = {}
    for name, (skips_padding, middle) in networks().items():
        gpunn.utils.set_random_seed(0)
        inputs = gpunn.Input((LENGTH,), dtype="int32")
        embedded = layers.Embedding(WORDS, 64, mask_zero=skips_padding)(inputs)
        answer = layers.Dense(1, "sigmoid")(layers.Dropout(0.5)(middle(embedded)))
        model = gpunn.Model(inputs, answer)
        model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
        begun = time.perf_counter()
        fitted = model.fit(
            x, y, batch_size=64, epochs=options.epochs, validation_data=held_out, verbose=0
        )
        seconds, histories[name] = time.perf_counter() - begun, fitted.history
        accuracy = histories[name]["val_accuracy"][-1]
        print(f"{name:12} accuracy {accuracy:.3f}  {seconds:4.0f} s")
    plot(histories, "reviews.png")


if __name__ == "__main__":
    main()
