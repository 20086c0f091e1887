"""The temperature of tomorrow from the weather of two weeks: windows of a series.

Four years of Seattle's weather, day by day: rain, highest and lowest temperature, wind, and the day
of the year as a circle. A gated recurrent network (GRU) and a convolution over time see 14 days and
forecast the highest temperature of the next; the last fifth is held out. The baseline, "as
today", is hard to beat: the difference between two days is mostly weather from elsewhere.

Run:       python examples/sequences/weather.py [--epochs 60]    (pip install vega-datasets)
Takes:     about five seconds.
Prints:    the mean absolute error in degrees Celsius of each on the held-out days.
Saves:     weather.png, if matplotlib is installed: two months and their forecasts.
"""

import argparse
import time

import numpy as np
from vega_datasets import local_data

import gpunn
from gpunn import layers

DAYS, BATCH = 14, 32


def read():
    """Return the weather, as features (days, 6), and the highest temperature of each day."""
    table = local_data.seattle_weather()
    weather = table[["precipitation", "temp_max", "temp_min", "wind"]].to_numpy()
    circle = 2 * np.pi * table["date"].dt.day_of_year.to_numpy() / 365.25
    features = np.column_stack(
        [np.log1p(weather[:, :1]), weather[:, 1:], np.sin(circle), np.cos(circle)]
    )
    return features.astype("float32"), weather[:, 1].astype("float32")


def windows(x, y, start, end, shuffle):
    """Return the windows that begin in an interval, each with the temperature to forecast."""
    return gpunn.utils.timeseries_dataset_from_array(
        x[start : end - 1], y[start + DAYS : end], DAYS, batch_size=BATCH, shuffle=shuffle, seed=0
    )


def networks(features, scale):
    """Return the networks by name: they forecast the change from now, in standard deviations."""
    mean, deviation = scale

    def built(middle):
        x = gpunn.Input((DAYS, features))
        now = x[:, -1, 1:2]
        change = layers.Dense(1)(middle(layers.Normalization(mean=mean, variance=deviation**2)(x)))
        return gpunn.Model(x, now + change)

    def convolution(x):
        x = layers.Conv1D(16, 3, activation="relu", padding="causal")(x)
        return layers.Dropout(0.2)(layers.Flatten()(layers.Conv1D(8, 3, activation="relu")(x)))

    def recurrent(x):
        return layers.Dropout(0.2)(layers.GRU(16)(x))

    return {"convolution": lambda: built(convolution), "GRU": lambda: built(recurrent)}


def plot(truth, forecasts, path):
    try:
        from matplotlib import pyplot as plt
    except ImportError:
        return
    figure, axes = plt.subplots(figsize=(8, 3.2), layout="constrained")
    days = np.arange(60)
    axes.plot(days, truth[: len(days)], "k", lw=1.5, label="measured")
    for name, values in forecasts.items():
        axes.plot(days, values[: len(days)], lw=1, label=f"the day before, by {name}")
    axes.set(xlabel="day", ylabel="degrees Celsius")
    axes.legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=120)
    plt.close(figure)
    print(f"saved {path}")


def main():
    parser = argparse.ArgumentParser(description="Forecast the temperature of tomorrow.")
    parser.add_argument("--epochs", type=int, default=60)
    options = parser.parse_args()

    x, y = read()
    first, second = int(0.7 * len(x)), int(0.8 * len(x))
    train, valid = windows(x, y, 0, first, True), windows(x, y, first, second, False)
    test = windows(x, y, second, len(x), False)
    truth, today = y[second + DAYS :], y[second + DAYS - 1 : -1]
    print(f"{len(x):,} days; windows of {DAYS}; {len(truth):,} held out")
    print(f"{'as today':14}{np.abs(truth - today).mean():6.2f}")

    forecasts = {}
    scale = x[:first].mean(axis=0), x[:first].std(axis=0)
    for name, build in networks(x.shape[1], scale).items():
        gpunn.utils.set_random_seed(0)
        model = build()
        model.compile(gpunn.optimizers.Adam(2e-3), "mae")
        stop = gpunn.callbacks.EarlyStopping("val_loss", patience=10, restore_best_weights=True)
        begun = time.perf_counter()
        model.fit(train, validation_data=valid, epochs=options.epochs, callbacks=[stop], verbose=0)
        seconds = time.perf_counter() - begun
        forecasts[name] = model.predict(test, verbose=0)[:, 0]
        error = np.abs(truth - forecasts[name]).mean()
        print(f"{name:14}{error:6.2f}   {model.count_params():,} weights, {seconds:.0f} s")
    plot(truth, forecasts, "weather.png")


if __name__ == "__main__":
    main()
