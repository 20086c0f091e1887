"""scikit-learn's MLPClassifier, with one epoch per call of partial_fit."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

REQUIRES = ("sklearn",)
VARIANTS = {"scikit-learn (no dropout)": {"device": "cpu"}}
NOTE = (
    "MLPClassifier has no dropout, and its loss while training but no accuracy: it computes "
    "less than the others. Weight decay, on by default, is off (alpha=0), as in the others."
)


def prepare(data, device="cpu"):
    from sklearn.neural_network import MLPClassifier

    work = data["workload"]
    adam = work["optimizer"] == "adam"
    model = MLPClassifier(
        hidden_layer_sizes=work["sizes"][1:-1],
        solver="adam" if adam else "sgd",
        learning_rate_init=0.001 if adam else 0.01,
        momentum=0.9 if work["optimizer"] == "momentum" else 0.0,
        nesterovs_momentum=False,
        alpha=0.0,
        batch_size=work["batch"],
    )
    x = data["x"].reshape(-1, 784).astype(np.float32) / 255
    x_test = data["x_test"].reshape(-1, 784).astype(np.float32) / 255
    y, classes = data["y"], np.arange(work["sizes"][-1])

    # Initial weights cannot be passed: one step creates the arrays, ours replace them,
    # and the next call creates a new optimizer, since the old one is removed.
    model.partial_fit(x[: work["batch"]], y[: work["batch"]], classes=classes)
    model.coefs_ = [w.copy() for w in data["weights"][::2]]
    model.intercepts_ = [w.copy() for w in data["weights"][1::2]]
    del model._optimizer

    def epoch():
        model.partial_fit(x, y)
        return model.loss_, None

    def accuracy():
        return float(model.score(x_test, data["y_test"]))

    def weights():
        return [w for pair in zip(model.coefs_, model.intercepts_, strict=True) for w in pair]

    return SimpleNamespace(
        epoch=epoch, accuracy=accuracy, predict=model.predict_proba, weights=weights
    )


if __name__ == "__main__":
    from cold import main

    main(prepare, VARIANTS)
