"""Regression: the progression of diabetes after a year, from ten measurements of 442 patients.

scikit-learn's diabetes data (Efron et al., 2004). Ten times, a different fifth of the patients is
held out. A network of one hidden layer with a penalty on its weights, scikit-learn's
MLPRegressor of the same shape, and its linear model with the same kind of penalty (Ridge)
learn from the rest. Ten measurements hold little information: half of the variance remains.

Run:       python examples/diabetes.py [--splits 10]
Takes:     about ten seconds. Needs scikit-learn: pip install scikit-learn
Prints:    root mean square error and R2 on the held-out patients: mean and standard deviation
           over the ten splits.
Saves:     diabetes.png, if matplotlib is installed: measured and predicted values of one split.
"""

import argparse
import warnings

import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Ridge
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPRegressor
from sklearn.preprocessing import StandardScaler

import gpunn
from gpunn import layers, metrics, plots, regularizers

HIDDEN, EPOCHS, BATCH, PENALTY = 32, 100, 32, 0.02
METRICS = metrics.RootMeanSquaredError, metrics.R2Score


def by_gpunn(x, y, seed):
    gpunn.utils.set_random_seed(seed)
    penalty = regularizers.L2(PENALTY)
    model = gpunn.Sequential(
        [
            layers.Input((x.shape[1],)),
            layers.Dense(HIDDEN, "relu", kernel_regularizer=penalty),
            layers.Dense(1, kernel_regularizer=penalty),
        ]
    )
    model.compile(gpunn.optimizers.Adam(0.002), "mse")
    model.fit(x, y, batch_size=BATCH, epochs=EPOCHS, verbose=0)
    return lambda rows: model.predict(rows)[:, 0]


def by_mlp_regressor(x, y, seed):
    # Its cost is 1/2 error^2 + alpha / (2 batch size) ||W||^2, half of ours.
    model = MLPRegressor(
        hidden_layer_sizes=(HIDDEN,),
        alpha=PENALTY * BATCH,
        batch_size=BATCH,
        learning_rate_init=0.002,
        max_iter=EPOCHS,
        random_state=seed,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # as many epochs as ours, no more
        model.fit(x, y[:, 0])
    return model.predict


def by_ridge(x, y, seed):
    return Ridge(alpha=10.0).fit(x, y[:, 0]).predict


def judge(metric, y, answers):
    found = metric()
    found.update_state(y, answers)
    return float(found.result())


def main():
    parser = argparse.ArgumentParser(description="A regression on scikit-learn's diabetes data.")
    parser.add_argument("--splits", type=int, default=10, help="of the patients")
    options = parser.parse_args()

    x, y = load_diabetes(return_X_y=True, scaled=False)
    y = y[:, None]
    print(
        f"{len(x)} patients, {x.shape[1]} measurements, {options.splits} splits, a fifth held out"
    )
    print(f"{'':22}{'error':>8}{'+-':>6}{'R2':>8}{'+-':>6}")
    ways = {"gpunn": by_gpunn, "MLPRegressor": by_mlp_regressor, "Ridge (linear)": by_ridge}
    pairs = {}
    for name, learn in ways.items():
        found = []
        for seed in range(options.splits):
            x_train, x_test, y_train, y_test = train_test_split(
                x, y, test_size=0.2, random_state=seed
            )
            of_x, of_y = StandardScaler().fit(x_train), StandardScaler().fit(y_train)
            predict = learn(of_x.transform(x_train), of_y.transform(y_train), seed)
            answers = of_y.inverse_transform(predict(of_x.transform(x_test))[:, None])
            pairs[name] = np.column_stack([y_test, answers])
            found.append([judge(metric, y_test, answers) for metric in METRICS])
        (error, r2), (of_error, of_r2) = np.mean(found, axis=0), np.std(found, axis=0)
        print(f"{name:22}{error:8.1f}{of_error:6.1f}{r2:8.3f}{of_r2:6.3f}")
    del pairs["MLPRegressor"]  # nearly the same as gpunn's
    try:
        figure = plots.points(
            np.vstack([*pairs.values()]), np.repeat([0, 1], [*map(len, pairs.values())]),
            names=["measured", "predicted"], classes=list(pairs), title="Patients held out",
        )  # fmt: skip
    except ImportError:
        print('no picture: pip install "gpunn[plot]"')
    else:
        figure.savefig("diabetes.png", dpi=150)


if __name__ == "__main__":
    main()
