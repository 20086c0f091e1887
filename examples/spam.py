"""A spam filter that reads your own file: a bag of words and a network with one hidden layer.

The file has a line for each message, ``label<TAB>text``, where the label is ``spam`` or
``ham`` (or any two words); the SMS Spam Collection (Almeida et al., 2011) has this format. A
message becomes a row of zeros and ones, one for each word that occurs in at least two
training messages. A fifth of each class is held out. The filter should seldom
discard a good message, so precision counts more than recall: the threshold is the lowest
at which at most 1 in 200 good training messages would be lost.

Run:       python examples/spam.py SMSSpamCollection [--label spam]
Takes:     about ten seconds for 5,000 messages.
Prints:    the numbers of messages and words; precision, recall and F1 on the held-out
           messages; the words that are the strongest signs of spam and of good messages; the
           misclassified messages.
Saves:     spam.png, if matplotlib is installed: the confusion matrix.
"""

import argparse
import re
import sys
from collections import Counter

import numpy as np

import gpunn
from gpunn import layers, metrics, plots

LOST = 1 / 200  # fraction of the good messages that may be lost
WORD = re.compile(r"[^\W\d_]{2,}|\d+|[£$€!]")


def read(path):
    """Return labels and messages.

    Raises:
        ValueError: if a line has no tab, or there are not two labels.
    """
    labels, messages = [], []
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            label, tab, text = line.rstrip("\n").partition("\t")
            if not label.strip() and not text.strip():
                continue
            if not tab:
                raise ValueError(f"{path}, line {number}: no tab between label and text: {line!r}")
            labels.append(label.strip())
            messages.append(text)
    if len(set(labels)) != 2:
        found = ", ".join(sorted(set(labels))[:5]) or "none"
        raise ValueError(f"{path}: two labels are expected; found {found}.")
    return np.array(labels), messages


def words(text):
    """Return the distinct words of a message; a number is replaced by its length."""
    found = WORD.findall(text.lower())
    return {f"<{len(word)} digits>" if word.isdigit() else word for word in found}


def bags(messages, places):
    rows = np.zeros((len(messages), len(places)), np.uint8)
    for row, text in zip(rows, messages, strict=True):
        row[[places[word] for word in words(text) if word in places]] = 1
    return rows


def hold_out(y, rng):
    """Choose the held-out messages: a fifth of each class, at least one."""
    held = np.zeros(len(y), bool)
    for value in (0, 1):
        rows = rng.permutation(np.flatnonzero(y == value))
        held[rows[: max(1, len(rows) // 5)]] = True
    return held


def make_network(inputs):
    gpunn.utils.set_random_seed(0)
    model = gpunn.Sequential(
        [
            layers.Input((inputs,)),
            layers.Dense(16, "relu"),
            layers.Dropout(0.5),
            layers.Dense(1, "sigmoid"),
        ]
    )
    model.compile(gpunn.optimizers.Adam(0.003), "binary_crossentropy", metrics=["accuracy"])
    return model


def learn(messages, y, held):
    """Return the network, the index of each word, and the threshold."""
    learnt = [text for text, out in zip(messages, held, strict=True) if not out]
    counts = Counter(word for text in learnt for word in words(text))
    places = {word: i for i, word in enumerate(sorted(w for w, n in counts.items() if n > 1))}
    if not places:
        raise ValueError("No word occurs in two messages: there is nothing to learn from.")
    x = bags(learnt, places)
    model = make_network(len(places))
    model.fit(x, y[~held], epochs=20, verbose=0)
    good = model.predict(x[y[~held] == 0])[:, 0]
    return model, places, max(0.5, float(np.quantile(good, 1 - LOST)))


def main():
    parser = argparse.ArgumentParser(description="Learn to tell spam from good messages.")
    parser.add_argument("file", help="a line for each message: label, tab, text")
    parser.add_argument("--label", default="spam", help="the label of the messages to filter out")
    options = parser.parse_args()
    try:
        labels, messages = read(options.file)
        if options.label not in labels:
            raise ValueError(f"--label {options.label}: the file's are {sorted(set(labels))}.")
        y = (labels == options.label).astype(np.int64)
        held = hold_out(y, np.random.default_rng(0))
        model, places, threshold = learn(messages, y, held)
    except (OSError, ValueError) as error:
        sys.exit(f"spam: {error}")

    print(f"{len(y):,} messages, {y.sum():,} of them {options.label}; {len(places):,} words")
    out = [text for text, is_out in zip(messages, held, strict=True) if is_out]
    chances = model.predict(bags(out, places))
    print(f"{len(out):,} held out, filtered above {threshold:.3f}")
    truth = y[held][:, None]
    for name, metric in (
        ("precision", metrics.Precision(thresholds=threshold)),
        ("recall", metrics.Recall(thresholds=threshold)),
        ("F1", metrics.F1Score(threshold=threshold)),
    ):
        metric.update_state(truth, chances)
        print(f"  {name:10}{float(np.squeeze(metric.result())):.3f}")

    alone = model.predict(np.eye(len(places), dtype=np.uint8))[:, 0]
    order = np.argsort(alone)
    names = list(places)
    for title, chosen in (("for", order[::-1][:8]), ("against", order[:8])):
        print(f"most {title} it: {', '.join(names[i] for i in chosen)}"[:80])
    wrong = np.flatnonzero((chances[:, 0] > threshold) != truth[:, 0])
    print(f"wrong: {len(wrong)} of {len(out)}")
    for i in wrong[:5]:
        print(f"  {chances[i, 0]:.2f}  {out[i]}"[:80])
    try:
        classes = sorted(set(labels), key=options.label.__eq__)
        taken_for = (chances[:, 0] > threshold).astype(int)
        figure = plots.confusion_matrix(truth[:, 0], taken_for, classes=classes)
    except ImportError:
        print('no picture: pip install "gpunn[plot]"')
    else:
        figure.savefig("spam.png", dpi=150)


if __name__ == "__main__":
    main()
