"""Every activation: its properties, and a gallery of curves and derivatives.

The table lists the range of each activation, whether it is monotonic, its asymptotes
on both sides, and where its derivative is 0: there a unit learns
nothing. Where an asymptote is a constant, the derivative vanishes on that side too. Each
entry is verified numerically before it is printed (gpunn.activations.check_properties);
a wrong entry would stop the script. softmax, log_softmax and sparsemax work on rows: the table
describes the first output for the row (x, 0), the picture all three for (x, 1, 0).

Run:       python examples/lessons/activations.py
Takes:     about two seconds.
Prints:    the table; tanh x and 2 sigmoid(2 x) - 1; a sigmoid's three parameters.
Saves:     activations.png, if matplotlib is installed.
"""

import numpy as np

from gpunn import activations

NAMED = [getattr(activations, name) for name in dir(activations)]
SHOWN = {a.__name__: a for a in NAMED if isinstance(a, activations.Activation)}
del SHOWN["celu"]  # with alpha 1 the same as elu
SHOWN["celu(2)"] = activations.Celu(2)
SHOWN["gelu, approx."] = activations.Gelu(approximate=True)
ROWS = {name: SHOWN[name] for name in ("softmax", "log_softmax", "sparsemax")}


def number(value):
    return f"{value + 0.0:.4g}"  # + 0: without the sign of -0


def line(asymptote):
    """Describe a straight line: "0", "x", ".2x"; a dash for none."""
    if asymptote is None:
        return "-"
    slope, intercept = asymptote
    if slope == 0:
        return number(intercept)
    text = "x" if slope == 1 else f"{number(slope)}x"
    sign = "-" if intercept < 0 else "+"
    return text if intercept == 0 else f"{text} {sign} {number(abs(intercept))}"


def places(flat):
    """Describe points and intervals: "x < -3, x = -1.5"."""
    words = []
    for start, stop in flat:
        if start == stop:
            words.append(f"x = {number(start)}")
        elif np.isinf(start) and np.isinf(stop):
            words.append("everywhere")
        elif np.isfinite([start, stop]).all():
            words.append(f"{number(start)} < x < {number(stop)}")
        else:
            words.append(f"x < {number(stop)}" if np.isinf(start) else f"x > {number(start)}")
    return ", ".join(words) or "nowhere"


def table():
    print(f"{'':15}{'values':17}{'never':6}{'close to, for x to':>20}  derivative")
    print(f"{'':15}{'from .. to':17}{'falls':6}{'-inf':>11}{'inf':>9}  is 0 at")
    for name, activation in SHOWN.items():
        p = activations.check_properties(activation)
        values = f"{number(p.range[0])} .. {number(p.range[1])}"
        falls = "yes" if p.monotone else "no"
        ends = f"{line(p.left):>11}{line(p.right):>9}"
        print(f"{name:15}{values:17}{falls:6}{ends}  {places(p.flat)}")


def identities():
    x = np.array([-2.0, -0.5, 0.0, 1.0, 3.0])
    print("\nx                  ", *(f"{v:9.4f}" for v in x))
    print("tanh x             ", *(f"{v:9.4f}" for v in activations.tanh(x)))
    print("2 sigmoid(2 x) - 1 ", *(f"{v:9.4f}" for v in 2 * activations.sigmoid(2 * x) - 1))
    shaped = activations.Sigmoid(slope=3, shift=15, offset=0)
    x = np.array([4.0, 4.5, 5.0, 5.5, 6.0])
    print("\nx                  ", *(f"{v:9.4f}" for v in x))
    print("sigmoid(3 (x - 5)) ", *(f"{v:9.4f}" for v in shaped(x)))


def draw_row(ax, name):
    """Draw the outputs of a function of rows over the first entry of the row."""
    x = np.linspace(-4, 4, 201)
    rows = np.column_stack([x, np.ones_like(x), np.zeros_like(x)])
    outputs = ROWS[name](rows)
    looks = {"for x": ("-", 165, (4, -10)), "for 1": ("--", 0, (2, 4)), "for 0": (":", 0, (2, 4))}
    for (label, (look, at, beside)), output in zip(looks.items(), outputs.T, strict=True):
        ax.plot(x, output, color="#0072b2", linestyle=look, linewidth=1.8)
        place = {"textcoords": "offset points", "xytext": beside, "fontsize": 8}
        ax.annotate(label, (x[at], output[at]), color="#0072b2", **place)
    ax.set_title(f"{name}(x, 1, 0)", fontsize=11)
    ax.set_xticks([-4, -2, 0, 2, 4])


def gallery(path):
    """Draw a panel for each: the curve as a solid line, its derivative dashed."""
    from matplotlib.figure import Figure

    columns = 6
    figure = Figure(figsize=(12, 8.4), layout="constrained")
    panels = figure.subplots(-(-len(SHOWN) // columns), columns)
    curves = {name: activation for name, activation in SHOWN.items() if name not in ROWS}
    for ax, name in zip(panels.flat[len(curves) :], ROWS, strict=False):
        draw_row(ax, name)
    for ax, (name, activation) in zip(panels.flat, curves.items(), strict=False):
        edge = 8 if name == "relu6" else 4
        x = np.linspace(-edge, edge, 1601)
        y, slope = activations.curve(activation, x)
        ax.axhline(0, color="0.8", linewidth=0.8)
        ax.axvline(0, color="0.8", linewidth=0.8)
        for jump in np.flatnonzero(np.abs(np.diff(y)) > 0.5):
            ax.plot(x[jump], y[jump], "o", color="black", markerfacecolor="white", zorder=3)
            ax.plot(x[jump + 1], y[jump + 1], "o", color="black", zorder=3)
            y[jump] = np.nan  # the pen is lifted
        slope[np.flatnonzero(np.abs(np.diff(slope)) > 0.1)] = np.nan
        ax.plot(x, y, color="black", linewidth=2.4, label="f(x)")
        ax.plot(x, slope, color="#d55e00", linewidth=1.5, linestyle="--", label="f'(x)")
        low = max(np.nanmin([y, slope]), -edge)
        high = min(np.nanmax([y, slope]), edge)
        ax.set_ylim(low - 0.08 * (high - low), high + 0.08 * (high - low))
        ax.set_xticks([-edge, -edge // 2, 0, edge // 2, edge])
        ax.set_title(name, fontsize=11)
    for ax in panels.flat[len(SHOWN) :]:
        ax.set_visible(False)
    for ax in panels.flat:
        ax.locator_params(axis="y", nbins=5)
        ax.tick_params(labelsize=8)
        for side in ("top", "right"):
            ax.spines[side].set_visible(False)
    for ax in panels[-1]:
        ax.set_xlabel("x", fontsize=9)
    for ax in panels[:, 0]:
        ax.set_ylabel("f(x), f'(x)", fontsize=9)
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=2, frameon=False)
    figure.savefig(path, dpi=150)


def main():
    table()
    identities()
    try:
        gallery("activations.png")
        print("\nsaved activations.png")
    except ImportError:
        print('\nFor the picture: pip install "gpunn[plot]"')


if __name__ == "__main__":
    main()
