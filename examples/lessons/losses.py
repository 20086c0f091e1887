"""What each loss optimizes: the best single answer, margins, directions and distributions.

One number is to predict 1, 2, 3, 4 and 100. Which one is best depends on the loss: the mean
for the squared error, the median for the absolute error, which ignores how far off 100
is, and approximately the median for losses that are quadratic near 0 and linear far out.
The percentage error favours small numbers, the logarithmic error the geometric mean (of the
numbers plus 1). Hinge losses require a score on its class's side with a margin of 1,
and nothing beyond.
Cross-entropy requires probabilities, softened by label smoothing; Kullback-Leibler divergence
compares distributions and is asymmetric.

Run:       python examples/lessons/losses.py
Takes:     about two seconds.
Prints:    the best answer by each loss; the margin losses at five scores; the best probability of
           the right class with smoothing; both directions of the divergence; distances.
Saves:     losses.png, if matplotlib is installed: the losses over the error and the score.
"""

import numpy as np

from gpunn import losses, plots

NUMBERS = np.array([1.0, 2.0, 3.0, 4.0, 100.0])
ERRORS = {
    "mean squared": losses.MeanSquaredError, "mean absolute": losses.MeanAbsoluteError,
    "Huber": losses.Huber, "log-cosh": losses.LogCosh,
    "absolute percentage": losses.MeanAbsolutePercentageError,
    "squared logarithmic": losses.MeanSquaredLogarithmicError, "Poisson": losses.Poisson,
}  # fmt: skip
MARGINS = {
    "hinge": losses.Hinge, "squared hinge": losses.SquaredHinge,
    "perceptron": losses.PerceptronCriterion,
}  # fmt: skip
P, Q = [[0.8, 0.15, 0.05]], [[0.4, 0.3, 0.3]]


def each(loss, y_true, y_pred):
    """Return the loss of each pair of numbers separately: (n,)."""
    pair = [np.reshape(np.asarray(a, np.float64), (-1, 1)) for a in (y_true, y_pred)]
    return np.asarray(loss(reduction="none")(*pair))


def best_answer(loss):
    """Return the number from 0 to 30, to two decimals, that minimizes the loss over NUMBERS."""
    answers = np.arange(1, 3001) / 100
    sums = sum(each(loss, np.full(len(answers), number), answers) for number in NUMBERS)
    return answers[np.argmin(sums)]


def wanted_chance(smoothing):
    """Return the probability of the right one of three classes that minimizes cross-entropy."""
    chances = np.arange(500, 1000) / 1000
    rows = np.column_stack([chances, (1 - chances) / 2, (1 - chances) / 2])
    loss = losses.CategoricalCrossentropy(label_smoothing=smoothing, reduction="none")
    return chances[np.argmin(loss(np.tile([1.0, 0, 0], (len(rows), 1)), rows))]


def picture():
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    error, score = np.linspace(-4, 4, 81), np.linspace(-3, 3, 61)
    names = "mean squared", "mean absolute", "Huber", "log-cosh"
    plots.curves(
        {name: (error, each(ERRORS[name], 0 * error, error)) for name in names},
        "answer - truth", "loss", "Errors", ax=left,
    )  # fmt: skip
    left.set_ylim(0, 5)
    found = {name: (score, each(loss, 0 * score + 1, score)) for name, loss in MARGINS.items()}
    plots.curves(found, "score of a sample of class 1", "loss", "Margins", ax=right)
    right.set_ylim(-0.1, 5)
    figure.savefig("losses.png", dpi=150)


def main():
    print("best single answer for", ", ".join(f"{number:g}" for number in NUMBERS))
    for name, loss in ERRORS.items():
        print(f"    {name:20}{best_answer(loss):7.2f}")
    geometric = np.expm1(np.log1p(NUMBERS).mean())
    print(f"    mean {NUMBERS.mean():g}, median {np.median(NUMBERS):g}, geometric {geometric:.2f}")

    scores = np.array([-1.0, 0.0, 0.5, 1.0, 2.0])
    print(f"\n{'score, class 1':24}" + "".join(f"{score:7.2f}" for score in scores))
    for name, loss in MARGINS.items():
        print(f"    {name:20}" + "".join(f"{v:7.2f}" for v in each(loss, 0 * scores + 1, scores)))
    three = losses.CategoricalHinge()
    print("    categorical hinge: 1 too close to the best of the others costs ", end="")
    print(f"{float(three([[0.0, 1, 0]], [[2.0, 2.0, 0.0]])):.2f}")

    print("\nchance of the right class that is asked for, three classes")
    for smoothing in (0.0, 0.1):
        print(f"    label smoothing {smoothing}: {wanted_chance(smoothing):.3f}")
    divergence = losses.KLDivergence()
    print("\ndivergence of (.8, .15, .05) and (.4, .3, .3)")
    print(f"    one way {float(divergence(P, Q)):.4f}, the other {float(divergence(Q, P)):.4f}")
    distance, cosine = losses.EuclideanDistance(), losses.CosineSimilarity()
    print("\n(3, -4) from the origin, and beside (6, -8)")
    print(f"    distance {float(distance([[0.0, 0]], [[3.0, -4]])):g}, ", end="")
    print(f"cosine similarity {float(cosine([[6.0, -8]], [[3.0, -4]])):g}: -1 is the best")
    try:
        picture()
    except ImportError:
        print('no picture: pip install "gpunn[plot]"')


if __name__ == "__main__":
    main()
