"""Is a tumour malignant? 30 measurements of cell nuclei, 569 patients.

scikit-learn's breast-cancer data (Wolberg et al., 1995). A quarter of the patients is held
out, stratified by class. "Positive" means malignant here: missing one is the worse
mistake, which recall measures. gpunn computes each metric; scikit-learn's values are shown too.

Run:       python examples/breast_cancer.py
Takes:     about five seconds. Needs scikit-learn: pip install scikit-learn
Prints:    the confusion matrix, accuracy, precision, recall, F1, F2 and the area under the
           ROC curve, by gpunn and by scikit-learn; the effect of a lower threshold; the counts
           and the report of both classes.
Saves:     roc_curve.png, if matplotlib is installed.
"""

import numpy as np
from sklearn import metrics as theirs
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

import gpunn
from gpunn import layers
from gpunn import metrics as ours


def load():
    x, benign = load_breast_cancer(return_X_y=True)
    parts = train_test_split(x, 1 - benign, test_size=0.25, random_state=0, stratify=benign)
    x_train, x_test, y_train, y_test = parts
    scale = StandardScaler().fit(x_train)
    return scale.transform(x_train), y_train, scale.transform(x_test), y_test


def make_network(inputs):
    gpunn.utils.set_random_seed(0)
    model = gpunn.Sequential(
        [
            layers.Input((inputs,)),
            layers.Dense(16, "relu"),
            layers.Dropout(0.2),
            layers.Dense(1, "sigmoid"),
        ]
    )
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    return model


def value(metric, y, chances):
    metric.update_state(y[:, None], chances[:, None])
    return float(np.squeeze(metric.result()))


def figures(y, chances, threshold=0.5):
    """Compute each metric by gpunn and by scikit-learn."""
    answers = (chances > threshold).astype(int)
    return {
        "accuracy": (
            value(ours.BinaryAccuracy(threshold=threshold), y, chances),
            theirs.accuracy_score(y, answers),
        ),
        "precision": (
            value(ours.Precision(thresholds=threshold), y, chances),
            theirs.precision_score(y, answers),
        ),
        "recall": (
            value(ours.Recall(thresholds=threshold), y, chances),
            theirs.recall_score(y, answers),
        ),
        "F1": (
            value(ours.F1Score(threshold=threshold), y, chances),
            theirs.f1_score(y, answers),
        ),
        "F2": (  # recall counts more than precision
            value(ours.FBetaScore(beta=2.0, threshold=threshold), y, chances),
            theirs.fbeta_score(y, answers, beta=2),
        ),
        "area under ROC": (ours.roc_auc(y, chances), theirs.roc_auc_score(y, chances)),
    }


def main():
    x, y, x_test, y_test = load()
    model = make_network(x.shape[1])
    model.fit(x, y, epochs=60, verbose=0)
    chances = model.predict(x_test)[:, 0].astype(np.float64)
    print(f"{len(x)} patients to learn from, {len(x_test)} held out\n")
    for threshold in (0.5, 0.1):
        matrix = ours.confusion_matrix(y_test, (chances > threshold).astype(int))
        print(f"malignant if the network says more than {threshold}")
        print(f"{'':12}{'called benign':>15}{'called malignant':>18}")
        for name, row in zip(("benign", "malignant"), matrix, strict=True):
            print(f"{name:12}{int(row[0]):15}{int(row[1]):18}")
        print(f"{'':16}{'gpunn':>10}{'scikit-learn':>14}")
        for name, (own, their) in figures(y_test, chances, threshold).items():
            print(f"{name:16}{own:10.6f}{their:14.6f}")
        print()
    kinds = ours.TruePositives, ours.FalsePositives, ours.TrueNegatives, ours.FalseNegatives
    counts = [f"{value(kind(), y_test, chances):.0f}" for kind in kinds]
    print("true and false positives, true and false negatives:", ", ".join(counts))
    names = ["benign", "malignant"]
    print(ours.classification_report(y_test, (chances > 0.5).astype(int), target_names=names))
    try:
        from gpunn import plots

        false_positive, true_positive, _ = ours.roc_curve(y_test, chances)
        figure = plots.curves(
            {"network": (false_positive, true_positive), "guessing": ([0, 1], [0, 1])},
            xlabel="false alarms (share of the benign)", ylabel="found (share of the malignant)",
            title="ROC curve",
        )  # fmt: skip
    except ImportError:
        print('no picture: pip install "gpunn[plot]"')
    else:
        figure.savefig("roc_curve.png", dpi=150)


if __name__ == "__main__":
    main()
