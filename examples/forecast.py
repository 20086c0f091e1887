"""The next value of a noisy periodic series from its last ones.

The series is the sum of two waves, with periods of 25 and 7 steps, and noise of deviation
0.3. A network sees the last 50 values and learns to predict the next one; the last fifth of the
series is held out. The baselines are "as the last one", "as one long period (175 steps)
ago", and the best weighted sum of the same 50 values (least squares). The last is hard to beat:
a sum of waves is a linear combination of its past values. The noise, which is known because the
series is generated, is a lower bound of the error.

Run:       python examples/forecast.py [--noise 0.3]
Takes:     about five seconds.
Prints:    the root mean square error of each on the held-out part, and that of the
           noise; then 100 steps ahead, where each forecast is fed its own predictions.
Saves:     forecast.png, if matplotlib is installed.
"""

import argparse

import numpy as np

import gpunn
from gpunn import layers

LENGTH, LAST, AHEAD = 4_000, 50, 100


def make_series(noise, seed=0):
    """Return the values with and without the noise."""
    t = np.arange(LENGTH)
    clean = np.sin(2 * np.pi * t / 25) + 0.5 * np.sin(2 * np.pi * t / 7 + 1)
    return clean + np.random.default_rng(seed).normal(0, noise, LENGTH), clean


def windows(series):
    """Return the last values (n, LAST) and the next one (n, 1)."""
    x = np.lib.stride_tricks.sliding_window_view(series, LAST)[:-1]
    return np.ascontiguousarray(x), series[LAST:, None]


def make_network():
    gpunn.utils.set_random_seed(0)
    model = gpunn.Sequential(
        [layers.Input((LAST,)), layers.Dense(32, "tanh"), layers.Dense(1)], dtype="float64"
    )
    model.compile(gpunn.optimizers.Adam(2e-3), "mse")
    return model


def rms(values):
    return float(np.sqrt(np.mean(np.square(values))))


def go_on(predict, start, steps):
    """Forecast ``steps`` values after ``start``, each from those before it."""
    known = list(start)
    for _ in range(steps):
        known.append(float(predict(np.array(known[-LAST:])[None])[0, 0]))
    return np.array(known[-steps:])


def main():
    parser = argparse.ArgumentParser(description="Forecast a noisy periodic series.")
    parser.add_argument("--noise", type=float, default=0.3, help="its standard deviation")
    options = parser.parse_args()

    series, clean = make_series(options.noise)
    x, y = windows(series)
    held_out = LENGTH // 5
    x_train, y_train, x_test, y_test = x[:-held_out], y[:-held_out], x[-held_out:], y[-held_out:]

    model = make_network()
    stop = gpunn.callbacks.EarlyStopping("val_loss", patience=10, restore_best_weights=True)
    model.fit(x_train, y_train, epochs=200, validation_split=0.1, verbose=0, callbacks=[stop])
    with_one = np.column_stack([x_train, np.ones(len(x_train))])
    factors, *_ = np.linalg.lstsq(with_one, y_train, rcond=None)

    def by_sum(rows):
        return rows @ factors[:-1] + factors[-1]

    errors = {
        "as the last one": y_test - x_test[:, -1:],
        "as 175 steps ago": y_test[:, 0] - series[-held_out - 175 : -175],
        "best sum": y_test - by_sum(x_test),
        "network": y_test - model.predict(x_test),
        "the noise itself": y_test[:, 0] - clean[-held_out:],
    }
    print(f"{held_out} values held out, root mean square error")
    for name, error in errors.items():
        print(f"  {name:18}{rms(error):8.3f}")

    start = series[-held_out - LAST : -held_out]
    truth = clean[-held_out : -held_out + AHEAD]
    ahead = {"network": go_on(model.predict, start, AHEAD), "best sum": go_on(by_sum, start, AHEAD)}
    print(f"{AHEAD} steps ahead, against the series without noise")
    for name, values in ahead.items():
        print(f"  {name:18}{rms(values - truth):8.3f}")
    try:
        from gpunn import plots

        shown = series[-held_out : -held_out + AHEAD]
        figure = plots.curves(
            {"series": shown, "network, fed its own values": ahead["network"]},
            xlabel="steps ahead", ylabel="value", title="A forecast",
        )  # fmt: skip
    except ImportError:
        print('no picture: pip install "gpunn[plot]"')
    else:
        figure.savefig("forecast.png", dpi=150)


if __name__ == "__main__":
    main()
