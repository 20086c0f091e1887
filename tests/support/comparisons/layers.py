"""Operations of layers: passes over arrays, normalizations and images."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any
from unittest.mock import patch

import numpy as np

import gpunn
from gpunn.backends.contract.backend import Backend
from gpunn.backends.contract.control import BATCHES, PASS, POSITION, Control
from gpunn.backends.cupy import convolution as cupy_convolution
from gpunn.backends.cupy import pooled as cupy_pooled
from gpunn.backends.cupy.backend import CupyBackend
from gpunn.backends.cupy.launch import roofline
from gpunn.backends.shared.geometry import Geometry
from gpunn.backends.shared.order import Order
from gpunn.backends.shared.precision import PRECISIONS, rounded

from .formulas import ELEMENTWISE
from .samples import NUMPY, Sample, assert_alike, on_both


def column_sums(gpu: Backend, sample: Sample) -> None:
    x = sample.numbers()

    def sums(backend: Backend, a: dict[str, Any]) -> None:
        backend.column_sums(a["x"], a["out"])
        backend.column_sums(a["x"], a["total"], accumulate=True)

    row = sample.normal(sample.columns)
    size = float(np.linalg.norm(np.abs(x[np.isfinite(x).all(axis=1)]).sum(axis=0)))
    assert_alike(*on_both(gpu, sums, x=x, out=row, total=row), sample.dtype, size)


def attention(gpu: Backend, sample: Sample) -> None:
    """Attention and its gradient, with masks of different shapes and without."""
    rng, keys = sample.rng, sample.rows
    batch, heads, size, depth = (int(n) for n in rng.integers(1, 5, 4))
    queries = int(rng.integers(1, 140))
    q, k, v, dy = (
        rng.normal(size=(batch, steps, heads, width)).astype(sample.dtype)
        for steps, width in ((queries, size), (keys, size), (keys, depth), (queries, depth))
    )
    mask = rng.random(np.where(rng.random(4) < 0.5, (batch, heads, queries, keys), 1)) > 0.3

    def attend(backend: Backend, a: dict[str, Any]) -> None:
        for i, (causal, seen) in enumerate([(False, None), (True, None), (True, a["mask"])]):
            backend.attention(a["q"], a["k"], a["v"], seen, 0.5, causal, a[f"y{i}"])
            backend.attention_gradient(
                a["q"], a["k"], a["v"], seen, a["dy"], 0.5, causal, *(a[f"d{x}{i}"] for x in "qkv")
            )

    outs = {f"{name}{i}": x for i in range(3)
            for name, x in (("y", dy), ("dq", q), ("dk", k), ("dv", v))}  # fmt: skip
    both = on_both(gpu, attend, q=q, k=k, v=v, dy=dy, mask=mask, **outs)
    assert_alike(*both, sample.dtype, float(keys))


def conversion(source: str, target: str, gpu: Backend, sample: Sample) -> None:
    """`affine` and `gather`, with rows from the middle of a shuffled pass to its end."""
    rows = sample.rows
    x = sample.rng.integers(0, 100, sample.shape).astype(source)
    scale, offset = (1.0, 0.0) if target == "int32" else (1 / 255, -0.5)
    order = Order(rows, sample.seed)
    first = int(sample.rng.integers(rows))

    def convert(backend: Backend, a: dict[str, Any]) -> None:
        control = Control(backend)
        control.set(POSITION, first)
        control.set(PASS, 2)
        backend.affine(a["x"], scale, offset, a["affine"])
        if target != "int32":
            backend.affine(a["x"], scale, offset, a["sum"], accumulate=True)
        backend.gather(a["x"], order, control, a["rows"], scale, offset)

    empty = np.zeros(sample.shape, target)
    both = on_both(gpu, convert, x=x, affine=empty, sum=empty + 1, rows=empty[first:])
    assert_alike(*both, "float32")


def columns(gpu: Backend, sample: Sample) -> None:
    """Parts of rows concatenated and split."""
    x, wide = sample.numbers(), sample.normal(sample.rows, sample.columns + 3)

    def copy(backend: Backend, a: dict[str, Any]) -> None:
        width = sample.columns
        backend.copy_columns(a["x"], 0, a["wide"], 2, width)
        backend.copy_columns(a["other"], width - 1, a["wide"], 1, 1, accumulate=True)
        backend.copy_columns(a["wide"], 1, a["out"], 0, width)
        backend.copy_columns(a["wide"], 3, a["sum"], 0, width, accumulate=True)

    both = on_both(
        gpu, copy, x=x, other=sample.normal(), wide=wide, out=x, sum=sample.normal()
    )
    assert_alike(*both, sample.dtype)


def dropout(gpu: Backend, sample: Sample) -> None:
    x, rate, seed = sample.numbers(), 0.3, 2**64 - 5

    def drop(backend: Backend, a: dict[str, Any]) -> None:
        control = Control(backend)
        control.set(BATCHES, sample.seed)
        backend.dropout(a["x"], rate, seed, 3, control, a["out"], a["mask"])
        backend.dropout_gradient(a["dy"], rate, a["mask"], a["dx"])
        backend.dropout_gradient(a["dy"], rate, a["mask"], a["sum"], accumulate=True)

    dy, mask = sample.normal(), np.zeros(sample.shape, np.bool_)
    x[~np.isfinite(x)] = 0  # a dropped infinity is 0 in one backend and NaN in the other
    both = on_both(gpu, drop, x=x, dy=dy, out=x, mask=mask, dx=dy, sum=sample.normal())
    assert_alike(*both, sample.dtype)


def batch_normalization(gpu: Backend, sample: Sample) -> None:
    """With the features last, first or in the middle of an array."""
    rows, columns = sample.shape
    x, dy, epsilon = sample.numbers(), sample.normal(), 0.01
    x[~np.isfinite(x)] = 0  # whether a sum is infinite or NaN depends on its order
    x += sample.rng.choice([0, 1000])
    shapes = [(rows, columns, 1), (1, rows, columns), (2, rows // 2, columns)]
    shape = shapes[int(sample.rng.integers(2 if rows % 2 else 3))]
    constant, affine = sample.rng.random(2) < (0.2, 0.8)

    def forward_and_back(backend: Backend, a: dict[str, Any]) -> None:
        x, dy, y, dx = (a[name].reshape(shape) for name in ("x", "dy", "y", "dx"))
        gamma, beta = (a["gamma"], a["beta"]) if affine else (None, None)
        backend.batch_statistics(x, 0.9, a["mean"], a["variance"], a["moving"], a["moving too"])
        backend.normalize(x, a["mean"], a["variance"], gamma, beta, epsilon, y)
        # The same in both: equal values minus their mean leave nothing but rounding errors.
        backend.write(a["mean"], mean)
        for again in (False, True):
            backend.normalize_gradient(
                x, dy, a["mean"], a["variance"], gamma, epsilon,
                None if constant else a["dgamma"], None if constant else a["dbeta"], dx,
                constant=constant, accumulate_gradients=again, accumulate_dx=again,
            )  # fmt: skip

    mean = x.reshape(shape).mean(axis=(0, 2), dtype=np.float64).astype(sample.dtype)
    names = ("mean", "variance", "moving", "moving too", "gamma", "beta", "dgamma", "dbeta")
    features = {name: sample.normal(shape[1]) for name in names}
    both = on_both(gpu, forward_and_back, x=x, dy=dy, y=x, dx=dy, **features)
    # Differences of large values, divided by sqrt(epsilon) if all are equal.
    size = 10 * float(np.abs(x).max(initial=1.0)) * np.sqrt(x.size)
    assert_alike(*both, sample.dtype, size)


def layer_normalization(gpu: Backend, sample: Sample) -> None:
    x, epsilon = sample.numbers(), 0.01
    x[~np.isfinite(x)] = 0
    centred, affine = sample.rng.random(2) < 0.6

    def forward_and_back(backend: Backend, a: dict[str, Any]) -> None:
        mean, gamma = a["mean"] if centred else None, a["gamma"] if affine else None
        backend.layer_norm(
            a["x"], gamma, a["beta"] if affine else None, epsilon, mean, a["variance"], a["y"]
        )
        for again in (False, True):
            backend.layer_norm_gradient(
                a["x"], a["dy"], gamma, epsilon, mean, a["variance"], a["dgamma"], a["dbeta"],
                a["dx"], accumulate_gradients=again, accumulate_dx=again,
            )  # fmt: skip

    arrays = {name: sample.normal(sample.columns) for name in ("gamma", "beta", "dgamma", "dbeta")}
    arrays |= {name: sample.normal(sample.rows) for name in ("mean", "variance")}
    arrays |= {name: sample.normal() for name in ("dy", "y", "dx")}
    size = 10 * float(np.abs(x).max(initial=1.0)) * np.sqrt(x.size)
    assert_alike(*on_both(gpu, forward_and_back, x=x, **arrays), sample.dtype, size)


def noise(gpu: Backend, sample: Sample) -> None:
    x = sample.normal()

    def draw(backend: Backend, a: dict[str, Any]) -> None:
        control = Control(backend)
        control.set(BATCHES, sample.seed)
        backend.normal_noise(a["x"], 0.3, 2**64 - 5, 3, control, a["y"])
        backend.normal_noise(a["x"], 0.3, 7, 4, control, a["z"], a["factors"])

    arrays = {name: sample.normal() for name in ("y", "z", "factors")}
    assert_alike(*on_both(gpu, draw, x=x, **arrays), sample.dtype)


def windows(sample: Sample) -> tuple[Geometry, tuple[int, ...]]:
    """Return windows of more than one cell on small images, and the images' shape."""
    pick = lambda least, most: int(sample.rng.integers(least, most + 1))  # noqa: E731
    window = pick(2, 3), pick(1, 3)
    strides, dilation = (pick(1, 3), pick(1, 4)), (1, 1)
    if sample.rows % 3 == 0:
        strides, dilation = dilation, (pick(1, 2), pick(1, 2))
    span = [d * (k - 1) + 1 for k, d in zip(window, dilation, strict=True)]
    size = pick(span[0], 8), pick(span[1], 8)
    padding = ("valid", "same")[pick(0, 1)]
    geometry = Geometry.fit(size, window, strides, padding, dilation)
    return geometry, (pick(1, 3), *size, pick(1, 4))


def images(sample: Sample, shape: tuple[int, ...]) -> np.ndarray:
    rows = replace(sample, rows=int(np.prod(shape[:3])), columns=shape[3])
    return rows.numbers().reshape(shape)


def convolution(gpu: Backend, sample: Sample) -> None:
    """By products of patches that are written."""
    geometry, shape = windows(sample)
    with patch.multiple(cupy_convolution, RATE=1e-30, FEW=0):
        both_ways_of_convolution(gpu, sample, geometry, shape, 1 + sample.columns % 5)


def convolution_without_patches(gpu: Backend, sample: Sample) -> None:
    """More windows, filters, and cells and channels, than a tile has rows, columns and terms."""
    geometry, (_, *size, _) = windows(sample)
    samples = -(-(sample.rows % 250) // (geometry.windows[0] * geometry.windows[1])) or 1
    more = sample.columns
    with patch.multiple(cupy_convolution, RATE=np.inf, BYTE=0, CACHED_BYTE=0, PIECE=50, FEW=0):
        for channels, filters in ((1 + more % 13, 4), (3, 33 + more % 40)):
            shape = samples, *size, channels
            both_ways_of_convolution(gpu, sample, geometry, shape, filters)


def convolution_with_few_rows(gpu: Backend, sample: Sample) -> None:
    """The kernel's gradient has as many rows as a thread adds up at once, or fewer."""
    geometry, (samples, *size, _) = windows(sample)
    most = 32 // geometry.cells
    shape, filters = (samples, *size, 1 + sample.rows % most), 1 + sample.columns % 40
    pixels = Geometry(geometry.image, geometry.image, (1, 1))
    always = patch.object(roofline, "ROW_CYCLES", (-np.inf, -np.inf))
    with always, patch.object(cupy_convolution, "WINDOWS", 7):
        both_ways_of_convolution(gpu, sample, geometry, shape, filters)
        both_ways_of_convolution(gpu, sample, pixels, shape, filters)


def pooled_convolution(gpu: Backend, sample: Sample) -> None:
    """A step in which nothing but a pooling reads the results of a convolution: of the first layer,
    whose images have no gradient, and of another one. Some windows have several largest pixels, or
    no number; some pixels are in no window."""
    geometry, (samples, *size, channels) = windows(sample)
    filters, channels = 1 + sample.columns % 40, min(channels, 32 // geometry.cells)
    pool = tuple(min(int(n), sample.rng.integers(1, 4)) for n in geometry.windows)
    pool = pool if 24 % np.prod(pool) == 0 else (1, pool[1])
    pools = Geometry.fit(geometry.windows, pool, pool, "valid")
    formula = gpunn.activations.get(("relu", "linear")[sample.seed % 2])
    bias = sample.normal(filters).round() if sample.rows % 5 else None
    if bias is not None and sample.values == "undefined":
        bias[sample.rng.random(filters) < 0.3] = np.nan
    between = samples, *geometry.windows, filters  # the shape of what nothing reads

    def layers(first: bool, backend: Backend, a: dict[str, Any]) -> None:
        own, dtype = backend.isolated(), np.dtype(sample.dtype)
        y, dy = own.zeros(between, dtype), own.zeros(between, dtype)

        def step() -> None:
            x, w, b = a["x"], a["w"], a.get("b")
            own.convolution(x, w, b, formula, geometry, y, y)
            own.max_pooling(y, pools, a["out"])
            own.max_pooling_gradient(y, a["out"], a["d"], pools, dy)
            dx = None if first else a["dx"]
            own.convolution_gradient(x, w, formula, geometry, y, dy, a["dw"], a.get("db"), dx, True)

        own.launch_mode = "fused"  # type: ignore[attr-defined]
        program: Any = own.program(step, True, unread=[y])
        program.run(1)
        if isinstance(backend, CupyBackend):
            launched = [task.name for launch in program.launches for task in launch.tasks]
            assert launched[0] == "pooled_convolution" and not backend.read(y).any()
            assert ("pooled_few_rows_gradient" if first else "unpooling") in launched

    image, kernel = (samples, *size, channels), (*geometry.window, channels, filters)
    shape = samples, *pools.windows, filters
    given = {
        name: sample.rng.integers(-1, 2, shape).astype(sample.dtype)
        if sample.values != "normal" and name != "dw" else sample.normal(*shape)
        for name, shape in (
            ("x", image), ("dx", image), ("w", kernel), ("dw", kernel), ("out", shape), ("d", shape)
        )
    }  # fmt: skip
    given |= {} if bias is None else {"b": bias, "db": sample.normal(filters)}
    faster = patch.multiple(cupy_convolution, RATE=np.inf, BYTE=0, CACHED_BYTE=0)
    for first in (True, False):
        few = patch.object(roofline, "ROW_CYCLES", (-np.inf if first else np.inf,) * 2)
        with faster, few, patch.object(cupy_pooled, "POOLED_WINDOWS", 7):
            both = on_both(gpu, partial(layers, first), **given)
        assert_alike(*both, sample.dtype, float(np.prod(between)))


def convolution_of_groups(gpu: Backend, sample: Sample) -> None:
    """Some channels and filters each, or one channel; more of these than a vector has elements."""
    geometry, (samples, *size, _) = windows(sample)
    more = 1 + sample.columns % 5
    for channels, filters, groups in ((6, 3 * more, 3), (2 + more, 2 * (2 + more), 2 + more),
                                      (13 + more, 13 + more, 13 + more)):  # fmt: skip
        shape = samples, *size, channels
        both_ways_of_convolution(gpu, sample, geometry, shape, filters, groups)


def both_ways_of_convolution(
    gpu: Backend, sample: Sample, geometry: Geometry, shape: tuple[int, ...], filters: int,
    groups: int = 1,
) -> None:  # fmt: skip
    out = sample.normal(shape[0], *geometry.windows, filters)
    kernel = sample.normal(*geometry.window, shape[3] // groups, filters)
    linear, formula = gpunn.activations.get("linear"), ELEMENTWISE[sample.seed % len(ELEMENTWISE)]
    separate, saved = formula.saves == "input", sample.normal(*out.shape)
    if not separate:
        NUMPY.bias_activation(saved, None, formula, saved)

    def both_ways(backend: Backend, a: dict[str, Any]) -> None:
        x, w, b, y = a["x"], a["w"], a["b"], a["y"]
        backend.convolution(x, w, b, formula, geometry, a["kept"] if separate else y, y)
        backend.convolution(x, w, None, linear, geometry, a["z"], a["z"])
        for adds in (False, True):
            backend.convolution_gradient(
                x, w, linear, geometry, y, a["dy"], a["dw"], a["db"], a["dx"], adds, adds
            )
        saved = a["saved"]
        backend.convolution_gradient(x, w, formula, geometry, saved, a["dy"], None, None, a["only"])

    both = on_both(
        gpu, both_ways, x=sample.normal(*shape), w=kernel, b=sample.normal(filters), y=out, z=out,
        kept=out, saved=saved,
        dy=sample.normal(*out.shape), dw=kernel, db=kernel[0, 0, 0], dx=sample.normal(*shape),
        only=sample.normal(*shape),
    )  # fmt: skip
    assert_alike(*both, sample.dtype, float(out.size))


def rounded_products(gpu: Backend, sample: Sample) -> None:
    """Products of rounded factors, added to the output: as exact as for factors rounded before.

    On a GPU the library may also keep more digits of the factors than the precision has.
    """
    library = gpu.name == "cupy"
    precisions = (gpu.precisions or ()) if sample.dtype == "float32" else ()
    geometry, shape = windows(sample)
    pixels = Geometry(geometry.image, geometry.image, (1, 1))
    for precision in precisions or (None,):
        for lies in (geometry, pixels):
            filters = 1 + sample.columns % 5
            factors = {
                "x": sample.normal(*shape), "dy": sample.normal(shape[0], *lies.windows, filters),
                "w": sample.normal(*lies.window, shape[3], filters),
            }  # fmt: skip

            def multiply(backend: Backend, a: dict[str, Any]) -> None:
                exact = backend is NUMPY
                asked = None if exact else precision  # noqa: B023
                x, w, dy = (
                    backend.upload(rounded(f, precision) if exact else f)  # noqa: B023
                    for f in (factors[name] for name in ("x", "w", "dy"))  # noqa: B023
                )
                linear, z = gpunn.activations.get("linear"), a["z"]
                backend.convolution(x, w, None, linear, lies, z, z, asked)  # noqa: B023
                for adds in (False, True):
                    backend.convolution_gradient(
                        x, w, linear, lies, z, dy, a["dw"], None, a["dx"], adds, adds, asked  # noqa: B023
                    )
                    flat, matrix = (m.reshape(-1, m.shape[-1]) for m in (dy, w))
                    backend.matmul(flat, matrix, a["y"], False, True, adds, asked)

            out, rows = factors["dy"], factors["dy"].size // filters
            arrays = {"z": out, "dw": factors["w"], "dx": factors["x"]}
            arrays["y"] = sample.normal(rows, factors["w"].size // filters)
            allowed = 2.0 ** -PRECISIONS[precision] if library and precision else None
            both = on_both(gpu, multiply, **arrays)
            assert_alike(*both, sample.dtype, float(out.size), allowed)


def pooling(gpu: Backend, sample: Sample) -> None:
    geometry, shape = windows(sample)
    geometry = replace(geometry, dilation=(1, 1))
    geometry = Geometry.fit(geometry.image, geometry.window, geometry.strides, "same")
    x = images(sample, shape)
    out, dx = sample.normal(shape[0], *geometry.windows, shape[3]), sample.normal(*shape)

    def both_kinds(backend: Backend, a: dict[str, Any]) -> None:
        backend.max_pooling(a["x"], geometry, a["y"])
        backend.average_pooling(a["x"], geometry, a["mean"])
        for dx, accumulate in (("dx", False), ("sum", True)):
            backend.max_pooling_gradient(
                a["x"], a["y"], a["dy"], geometry, a["max " + dx], accumulate
            )
            backend.average_pooling_gradient(a["dy"], geometry, a["mean " + dx], accumulate)

    both = on_both(
        gpu, both_kinds, x=x, y=out, mean=out, dy=sample.normal(*out.shape),
        **{f"{kind} {name}": dx for kind in ("max", "mean") for name in ("dx", "sum")},
    )  # fmt: skip
    assert_alike(*both, sample.dtype, float(np.abs(x[np.isfinite(x)]).sum()))


def layout(gpu: Backend, sample: Sample) -> None:
    _, shape = windows(sample)
    x, offset = images(sample, shape), tuple(int(n) for n in sample.rng.integers(-3, 4, 2))
    out = sample.normal(shape[0], 5, 6, shape[3])
    turned = x.reshape(shape[0], -1, shape[3])
    other = sample.normal(shape[0], shape[3], turned.shape[1])

    def move(backend: Backend, a: dict[str, Any]) -> None:
        backend.crop_or_pad(a["x"], offset, a["out"])
        backend.crop_or_pad(a["x"], offset, a["sum"], accumulate=True)
        backend.swap_axes(a["turned"], a["other"])
        backend.swap_axes(a["turned"], a["added"], accumulate=True)

    arrays = {"x": x, "out": out, "sum": out, "turned": turned, "other": other, "added": other}
    assert_alike(*on_both(gpu, move, **arrays), sample.dtype)


def sums_of_many_rows(gpu: Backend, sample: Sample) -> None:
    """More than one block per column, as for the windows of a batch of images."""
    many = 2048 + 37 * sample.rows
    column_sums(gpu, replace(sample, rows=many, columns=1 + sample.columns % 3))
