"""Plots of the loss over two weights, and of the training path."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.axes import Axes

import gpunn
from gpunn import layers
from gpunn.apps import plots

RNG = np.random.default_rng(5)


def line_model(dtype="float64"):
    model = gpunn.Sequential(
        [layers.Input((1,)), layers.Dense(1, name="line")], dtype=dtype, backend="numpy"
    )
    model.compile(gpunn.optimizers.SGD(0.1), "mse")
    model.set_weights([[[1.0]], [3.0]])
    return model


def test_the_surface_of_a_line_is_its_mean_squared_error(monkeypatch):
    x, y = RNG.random((6, 1)), RNG.random((6, 1))
    drawn, contourf = [], Axes.contourf
    monkeypatch.setattr(
        Axes, "contourf", lambda axes, *given, **how: (
            drawn.append(given), contourf(axes, *given, **how))[1],
    )  # fmt: skip
    model = line_model()
    figure = plots.error_surface(model, x, y, span=((-1, 2), (0, 4)), resolution=7)
    filled = next(c for c in figure.axes[0].collections if hasattr(c, "levels"))
    slope, offset = np.meshgrid(np.linspace(-1, 2, 7), np.linspace(0, 4, 7))
    expected = ((slope[..., None] * x[:, 0] + offset[..., None] - y[:, 0]) ** 2).mean(-1)
    levels = filled.levels
    assert levels[0] <= expected.min() < levels[1] and levels[-2] < expected.max() <= levels[-1]
    assert model.weights_dict()["line/kernel"] == 1 and model.weights_dict()["line/bias"] == 3
    axes = figure.axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("line/kernel[0, 0]", "line/bias[0]")
    ((*_, heights),) = drawn
    np.testing.assert_allclose(heights, expected, rtol=1e-12)


@pytest.mark.parametrize("every", ["epoch", "batch"])
def test_the_recorder_keeps_the_path_of_gradient_descent(every):
    x, y = RNG.random((6, 1)), RNG.random((6, 1))
    model = line_model()
    weights = [("line/kernel", (0, 0)), ("line/bias", 0)]
    recorder = plots.PathRecorder(weights, every)
    model.fit(x, y, batch_size=6, epochs=4, verbose=0, callbacks=[recorder])
    expected = [np.array([1.0, 3.0])]
    for _ in range(4):
        slope, offset = expected[-1]
        error = slope * x + offset - y
        expected.append(expected[-1] - 0.1 * np.array([2 * (error * x).mean(), 2 * error.mean()]))
    np.testing.assert_allclose(recorder.path, expected, rtol=1e-12)
    axes = plots.error_surface(model, x, y, weights, recorder, resolution=5).axes[0]
    np.testing.assert_array_equal(axes.lines[0].get_xydata(), recorder.path)
    assert [t.get_text() for t in axes.get_legend().get_texts()] == ["path", "start", "end"]
    again = plots.PathRecorder(weights)
    again.set_state(recorder.get_state())
    np.testing.assert_array_equal(again.path, recorder.path)


def test_contours_are_smooth_and_their_numbers_round_and_legible():
    """A valley narrower than the grid, with a path along and across it, as in training."""
    along = np.linspace(-0.8, 0.7, 40)
    path = np.column_stack([along, 0.13 - along]) + np.linspace(1, 0, 40)[:, None] ** 6
    figure = plots.error_surface(
        lambda a, b: 1e-6 + (a + b - 0.13) ** 4 / 7, path=path, span=((-1.5, 1.2), (-1.1, 1.6))
    )
    figure.draw_without_rendering()
    axes, bar = figure.axes
    filled, lines = (c for c in axes.collections if hasattr(c, "levels"))
    for contour in lines.get_paths():
        a, b = contour.vertices.T
        assert np.ptp(np.abs(a + b - 0.13)) < 2.7 / 40
    assert len(lines.levels) >= 8
    for level in filled.levels:
        assert float(f"{level:.2g}") == pytest.approx(level, rel=1e-9, abs=1e-15)
    inside = axes.get_window_extent()
    labels = [t for t in axes.texts if t.get_text()]
    assert len(labels) >= 3
    passed = axes.transData.transform(np.column_stack(
        [np.interp(np.linspace(0, 39, 2000), np.arange(40), column) for column in path.T]
    ))  # fmt: skip
    for label in labels:
        box = label.get_window_extent()
        assert inside.x0 < box.x0 and box.x1 < inside.x1
        assert inside.y0 < box.y0 and box.y1 < inside.y1
        assert not any(box.contains(*point) for point in passed)
    assert [t.get_text() for t in bar.get_yticklabels()] == [
        f"{level:.3g}".replace("-", "\N{MINUS SIGN}") for level in filled.levels[::2]
    ]


def test_a_surface_without_its_bar_has_axes_of_its_own_only():
    for colorbar, axes in ((True, 2), (False, 1)):
        figure = plots.error_surface(lambda a, b: a + b, colorbar=colorbar)
        assert len(figure.axes) == axes


def test_a_plain_function_and_several_paths():
    asked = []

    def bowl(a, b):
        asked.append((a, b))
        return a**2 + b**2

    figure = plots.error_surface(
        bowl, path={"one": [[1, 1], [0, 0]], "two": [[2, 0], [0, 0]]}, resolution=9, title="Bowl"
    )
    low, high = np.min(asked, axis=0), np.max(asked, axis=0)
    assert (low < 0).all() and (high > [2, 1]).all()
    assert figure.axes[0].get_title() == "Bowl"
    paths = {line.get_label(): line.get_xydata().tolist() for line in figure.axes[0].lines}
    assert paths["two"] == [[2, 0], [0, 0]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"weights": [("line/kernel", (0, 0)), ("line/bais", 0)]}, "Did you mean 'line/bias'"),
        ({"weights": [("line/kernel", (0, 1)), ("line/bias", 0)]}, r"index \(0, 1\)"),
        ({"weights": [("line/bias", 0)]}, "must be two weights; got 1"),
        ({"weights": [3, 4]}, "a pair such as"),
        ({"path": [1, 2]}, r"path must be points \(steps, 2\)"),
        ({"span": ((1, 0), (0, 1))}, "span must be"),
        ({"model": 3}, "a gpunn model or a function"),
        ({"model": lambda a, b: a}, "takes no x, y and weights"),
        ({"model": lambda a, b: np.nan, "x": None, "y": None}, "finite nowhere"),
    ],
)
def test_what_a_surface_cannot_be_drawn_of(arguments, message):
    given = {"model": line_model(), "x": [[1.0]], "y": [[1.0]], "resolution": 3} | arguments
    with pytest.raises((ValueError, TypeError), match=message):
        plots.error_surface(**given)
