"""A new part is one short file: everything else is generated from it."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import browser
import pytest

ROOT = Path(__file__).parents[2]
PARTS = {
    "activations/algebraic.py": '''
"""An algebraic sigmoid: without exponentials."""

from gpunn.common.arguments import check_above_zero
from gpunn.common.fields import field
from gpunn.ops.tensor import Tensor, ops

from .activation import Activation
from .properties import Properties


class Algebraic(Activation):
    """f(x) = x / sqrt(x^2 + b).

    Source: Carlile et al., Improving deep learning by inverse square root linear units, 2017.
    """

    functor = "Algebraic"
    parameter_names = ("b",)
    examples = ({}, {"b": 1.0})
    properties = Properties((-1, 1), True, (0, -1), (0, 1))

    b: float = field(default=3.0, check=check_above_zero)

    def call(self, x: Tensor) -> Tensor:
        return x / ops.sqrt(x * x + self.b)
''',
    "losses/charbonnier.py": '''
"""The Charbonnier loss: a smooth absolute error."""

from gpunn.ops.tensor import Tensor, ops

from .elements import ElementLoss


class Charbonnier(ElementLoss):
    """l = mean_j sqrt((y_j - t_j)^2 + 0.01).

    Source: Charbonnier et al., Deterministic edge-preserving regularization, 1997.
    """

    functor = "Charbonnier"

    def cost(self, t: Tensor, y: Tensor) -> Tensor:
        return ops.sqrt(ops.square(y - t) + 0.01)
''',
    "optimizers/yogi.py": '''
"""Yogi: Adam with a mean of squares that grows by steps of one size."""

from typing import Any

from gpunn import ops
from gpunn.common.arguments import check_below_one, check_not_negative
from gpunn.common.fields import field
from gpunn.ops.tensor import Tensor

from .optimizer import Optimizer, Tensors


class Yogi(Optimizer):
    """m += (g - m)(1 - b1), v -= (1 - b2) sign(v - g^2) g^2, w -= a m / (sqrt(v) + eps).

    Source: Zaheer et al., Adaptive methods for nonconvex optimization, 2018.
    """

    functor = "Yogi"
    parameter_names = ("beta_1", "beta_2", "epsilon", "weight_decay")
    slot_names = ("m", "v")
    not_negative = ("v",)

    learning_rate: Any = 0.01
    beta_1: float = field(default=0.9, check=check_below_one)
    beta_2: float = field(default=0.999, check=check_below_one)
    epsilon: float = field(default=1e-3, check=check_not_negative)
    weight_decay: float | None = None

    examples = ({}, {"beta_1": 0.5})

    def rule(
        self, w: Tensor, g: Tensor, slots: Tensors, rate: Tensor, t: Tensor
    ) -> tuple[Tensor, Tensors]:
        m = slots["m"] + (g - slots["m"]) * (1 - self.beta_1)
        square = g * g
        v = slots["v"] - (1 - self.beta_2) * (ops.sign(slots["v"] - square) * square)
        return w - rate * m / (ops.sqrt(v) + self.epsilon), {"m": m, "v": v}
''',
}
LAYER = {
    "gpunn/layers/dynamic_tanh.py": '''
"""Dynamic tanh, with kernels of its own."""

from typing import Any

from gpunn.common.fields import field
from gpunn.core.plan import Call

from .arguments import check_initializer
from .layer import Layer
from .shapes import Shape


class DynamicTanh(Layer):
    """y = tanh(alpha x), with an alpha that is trained for each feature.

    Source: Zhu et al., Transformers without normalization, 2025.
    """

    examples = ({}, {"alpha_initializer": "ones"})

    alpha_initializer: Any = field(default="ones", check=check_initializer)

    def build(self, input_shape: Shape) -> None:
        shape = [int(input_shape[-1])]
        self.alpha = self.parameter(shape, initializer=self.alpha_initializer, name="alpha")

    def forward(self, call: Call) -> None:
        call.backend.dynamic_tanh(call.x, self.alpha.value, call.y)

    def backward(self, call: Call) -> None:
        terms = call.array("terms", call.x.shape)
        dx = call.array("unused", call.x.shape) if call.dx is None else call.dx
        values = call.x, self.alpha.value, call.y, call.dy
        call.backend.dynamic_tanh_gradient(*values, terms, dx, call.accumulate_dx)
        if call.trains:
            adds = call.accumulate_gradients
            call.backend.column_sums(terms, self.alpha.gradient, accumulate=adds)
''',
    "gpunn/backends/contract/passes.py": '''
    @operation(
        x=reads("rows features"),
        alpha=reads("features"),
        out=writes("rows features"),
        by_kernel=KernelCall("x, alpha, rows, features, out", n="rows * features", slices="rows"),
    )
    def dynamic_tanh(self, x: Array, alpha: Array, out: Array) -> None:
        """out = tanh(alpha x)."""
        self.xp.multiply(x, alpha, out=out)
        self.xp.tanh(out, out=out)

    @operation(
        x=reads("rows features"),
        alpha=reads("features"),
        y=reads("rows features"),
        dy=reads("rows features"),
        terms=writes("rows features"),
        dx=writes("rows features", accumulate_if="accumulate_dx"),
        by_kernel=KernelCall(
            "x, alpha, y, dy, rows, features, accumulate_dx, terms, dx",
            n="rows * features", slices="rows",
        ),
    )
    def dynamic_tanh_gradient(
        self,
        x: Array,
        alpha: Array,
        y: Array,
        dy: Array,
        terms: Array,
        dx: Array,
        accumulate_dx: bool = False,
    ) -> None:
        """terms = dy (1 - y^2) x, whose sum is the gradient of alpha; dx = dy (1 - y^2) alpha."""
        xp, slope = self.xp, self.scratch(x.shape, x.dtype, "slope")
        xp.multiply(y, y, out=slope)
        xp.subtract(1.0, slope, out=slope)
        xp.multiply(slope, dy, out=slope)
        xp.multiply(slope, x, out=terms)
        xp.multiply(slope, alpha, out=slope if accumulate_dx else dx)
        if accumulate_dx:
            xp.add(dx, slope, out=dx)
''',
    "kernels/cpu/dynamic_tanh.cpp": '''
// tanh(alpha x) with an alpha for each feature; x (rows, features), alpha (features,).
#include "../formulas/math.cuh"
#include "operation.hpp"

namespace {

template <typename T>
void dynamic_tanh(const T* x, const T* alpha, int64 rows, int64 features, T* out) {
    for (int64 r = 0; r < rows; ++r, x += features, out += features)
        for (int64 c = 0; c < features; ++c) out[c] = math::tanh(x[c] * alpha[c]);
}

template <typename T>
void dynamic_tanh_gradient(const T* x, const T* alpha, const T* y, const T* dy, int64 rows,
                           int64 features, bool accumulate_dx, T* terms, T* dx) {
    for (int64 i = 0; i < rows * features; ++i) {
        const T slope = (T(1) - y[i] * y[i]) * dy[i], more = slope * alpha[i % features];
        terms[i] = slope * x[i];
        dx[i] = accumulate_dx ? dx[i] + more : more;
    }
}

template <typename T> void add_dynamic_tanh() {
    add<&dynamic_tanh<T>>("dynamic_tanh", {name_of<T>()});
    add<&dynamic_tanh_gradient<T>>("dynamic_tanh_gradient", {name_of<T>()});
}

const Registration registration([] {
    EACH_FLOAT(add_dynamic_tanh)
});

}  // namespace
''',
    "kernels/cuda/dynamic_tanh.cu": '''
// tanh(alpha x) with an alpha for each feature; x (rows, features), alpha (features,).
#include "../formulas/math.cuh"
#include "threads.cuh"

template <typename T>
ELEMENT_PART void dynamic_tanh(ThreadGroup threads, ROW_SLICED const T* x, const T* alpha, int64 n,
                               uint32 features, ROW_SLICED T* out) {
    for (int64 i : threads.elements(n)) out[i] = math::tanh(x[i] * alpha[i % features]);
}

template <typename T>
ELEMENT_PART void dynamic_tanh_gradient(ThreadGroup threads, ROW_SLICED const T* x, const T* alpha,
                                        ROW_SLICED const T* y, ROW_SLICED const T* dy, int64 n,
                                        uint32 features, bool accumulate_dx, ROW_SLICED T* terms,
                                        ROW_SLICED T* dx) {
    for (int64 i : threads.elements(n)) {
        const T slope = (T(1) - y[i] * y[i]) * dy[i], more = slope * alpha[i % features];
        terms[i] = slope * x[i];
        dx[i] = accumulate_dx ? dx[i] + more : more;
    }
}
''',
}
PRIMITIVE = {  # a row of a table, before this one
    "gpunn/backends/shared/functions.py": {
        "_vector = partial(": '''def _log_cosh(backend: Any, out: Any, x: Any) -> None:
    xp = backend.xp
    size = backend.scratch(x.shape, x.dtype, "size")
    xp.absolute(x, out=size)
    xp.multiply(size, -2.0, out=out)
    xp.exp(out, out=out)
    xp.log1p(out, out=out)
    xp.subtract(out, 0.6931471805599453, out=out)
    xp.add(out, size, out=out)


''',
        '    "floor": ': '''    "log_cosh": Function(
        "x", "math::magnitude(x) + (math::log1p(math::exp(T(-2) * math::magnitude(x)))"
        " - T(0.6931471805599453))", _log_cosh,
    ),
''',
    },
    "gpunn/ops/gradient_rules.py": {
        '    "arcsinh": ': '    "log_cosh": lambda dy, y, x: (dy * ops.tanh(x),),\n',
    },
}
MOST_STATEMENTS = {"activations": 10, "losses": 10, "optimizers": 20}
NEW = {"activation": "Algebraic", "loss": "Charbonnier", "optimizer": "Yogi"}
FIND = f"""
import json, runpy
import numpy as np
runpy.run_path("tools/docs.py")["main"](["reference/parts.md"])
import registered
from gpunn import activations, layers, losses, optimizers, testing
from gpunn.backends.cupy.launch import kernel_source
cases = {{}}
for kind, name in {NEW}.items():
    cases[kind] = [case for case in registered.cases(kind) if case[0] == name]
for name, arguments in cases["activation"]:
    testing.check_gradients(registered.make("activation", name, arguments), (7, 5))
for name, arguments in cases["loss"]:
    loss = registered.make("loss", name, arguments)
    testing.check_gradients(loss, (7, 5), y_true=np.linspace(-1, 1, 35).reshape(7, 5))
print(json.dumps({{
    "exported": [name for name in activations.__all__ if "algebraic" in name.lower()],
    "called": activations.algebraic([1.0]).tolist(),
    "of a row": losses.charbonnier(np.zeros((1, 2)), np.zeros((1, 2))).round(6).tolist(),
    "by name": repr([layers.Dense(2, activation="algebraic").activation,
                     losses.get("charbonnier").name, optimizers.get("yogi").beta_1]),
    "cases": cases,
    "functors": [kernel_source.parameter_names().get(name, []) for name in {NEW}.values()],
}}))
"""
FUSED = """
import numpy as np
import gpunn
from gpunn import layers, losses, ops
from gpunn.ops.elementwise import elementwise
from gpunn.testing import check_gradients
log_cosh = elementwise("log_cosh")
class LogCosh(layers.Layer):
    def call(self, x):
        return log_cosh(2.0 * x) + 1.0
x = np.random.default_rng(0).normal(0, 9, (64, 6)).astype(np.float32)
expected = (np.logaddexp(2.0 * x, -2.0 * x) - np.log(2) + 1).astype(np.float32)
for given in (x, x.astype(np.float64)):
    slope = gpunn.grad(lambda x: ops.sum(log_cosh(x)))(ops.array(given, given.dtype))
    np.testing.assert_allclose(slope.numpy(), np.tanh(given), rtol=1e-5)
for backend in BACKENDS:
    check_gradients(LogCosh(), (7, 5), backend=backend)
    model = gpunn.Sequential([layers.Input((6,)), LogCosh()], backend=backend)
    with model.backend.profile() as operations:
        found = model.predict(x, batch_size=64, verbose=0)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
    (one,) = [operation for operation in operations if operation.name == "expression"]
    assert one.bytes == x.nbytes + found.nbytes  # in one pass
class SumOfLogs(losses.Loss):  # computed by calls of array functions in place
    def call(self, y_true, y_pred):
        return ops.mean(log_cosh(y_pred - y_true), axis=-1)
loss = SumOfLogs()(np.zeros((64, 6), np.float32), x)
np.testing.assert_allclose(float(loss), np.mean(np.logaddexp(x, -x) - np.log(2)), rtol=1e-5)
activation = layers.Activation(lambda x: log_cosh(x))
np.testing.assert_allclose(activation(x), np.logaddexp(x, -x) - np.log(2), rtol=1e-5, atol=1e-6)
print("one function")
"""
EVERYWHERE = """
import sys
import numpy as np
import gpunn, registered
from gpunn import layers
from gpunn.backends import get_backend
from gpunn.testing import check_gradients
import emulated  # the kernels for a GPU, on this machine
BACKENDS = ("numpy", "compiled", "emulated")
random = np.random.default_rng(0)
x = random.standard_normal((9, 6)).astype(np.float32)
for name, arguments in registered.cases("activation"):
    if name == "Algebraic":
        activation = registered.make("activation", name, arguments)
        expected = x / np.sqrt(x * x + activation.b)
        for backend in BACKENDS:
            check_gradients(activation, (7, 5), backend=backend)
            model = gpunn.Sequential(
                [layers.Input((6,)), layers.Activation(activation)], backend=backend
            )
            np.testing.assert_allclose(model.predict(x, verbose=0), expected, rtol=1e-6)
        model.export("model.onnx", format="onnx")
        import onnxruntime
        session = onnxruntime.InferenceSession("model.onnx")
        (found,) = session.run(None, {session.get_inputs()[0].name: x})
        np.testing.assert_allclose(found, expected, rtol=1e-6)
t = random.standard_normal((9, 2)).astype(np.float32)
for backend in BACKENDS:
    check_gradients(gpunn.losses.Charbonnier(), x[:, :2], y_true=t, backend=backend)
    model = gpunn.Sequential(
        [layers.Input((6,)), layers.Dense(2, use_bias=False)], backend=backend
    )
    w = random.standard_normal((6, 2)) / 3
    model.set_weights([w])
    model.compile(gpunn.optimizers.Yogi(0.01), "charbonnier")
    model.fit(x, t, batch_size=9, epochs=5, verbose=0)
    m = v = np.zeros_like(w)
    for _ in range(5):
        e = x @ w - t
        g = x.T @ (e / np.sqrt(e * e + 0.01)) / e.size
        m = 0.9 * m + 0.1 * g
        v = v - 0.001 * np.sign(v - g * g) * g * g
        w = w - 0.01 * m / (np.sqrt(v) + 1e-3)
    np.testing.assert_allclose(model.get_weights()[0], w, rtol=1e-4, atol=1e-5)
    e = x @ w - t
    found = model.evaluate(x, t, verbose=0)
    np.testing.assert_allclose(found, np.sqrt(e * e + 0.01).mean(), rtol=1e-4)
labels = np.tanh(0.7 * x)
losses = []
for backend in BACKENDS:
    check_gradients(layers.DynamicTanh(), (7, 5), backend=backend)
    model = gpunn.Sequential(
        [layers.Input((6,)), layers.DynamicTanh()], backend=backend, dtype="float64"
    )
    model.compile("sgd", "mse")
    model.fit(x, labels, batch_size=4, epochs=20, verbose=0, shuffle=False)
    np.testing.assert_allclose(
        model.predict(x, verbose=0), np.tanh(x * model.get_weights()[0]), rtol=1e-12
    )
    losses.append(model.evaluate(x, labels, verbose=0))
    have = get_backend(backend)
    if backend == "compiled":
        assert ("dynamic_tanh", "float32") in have.compiled_operations
np.testing.assert_allclose(losses, losses[0], rtol=1e-9)
print("right everywhere")
""" + FUSED

IN_PAGES = """
import browser, numpy as np, gpunn
from gpunn import layers
from gpunn.backends import get_backend
have = get_backend("browser").library.operations
parts = {"bias_activation": "Algebraic", "activation_gradient": "Algebraic",
         "loss": "Charbonnier", "update": "Yogi"}
assert {(name, "float32", part) for name, part in parts.items()} <= have.keys()
assert {("dynamic_tanh", "float32"), ("dynamic_tanh_gradient", "float32")} <= have.keys()
x, y = np.random.default_rng(0).standard_normal((2, 12, 6)).astype(np.float32)
found = []
for backend in ("numpy", "browser"):
    gpunn.utils.set_random_seed(1)
    inside = [layers.Dense(5, activation="algebraic"), layers.DynamicTanh(), layers.Dense(6)]
    model = gpunn.Sequential([layers.Input((6,)), *inside], backend=backend)
    model.compile("yogi", "charbonnier")
    model.fit(x, y, batch_size=6, epochs=5, verbose=0)
    found.append(model.get_weights())
for a, b in zip(*found, strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
print("right in pages")
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the project with one more file for each part, four for a layer, and a row in two
    tables for a function of elements."""
    excluded = shutil.ignore_patterns("__pycache__", "*.so")
    for folder in ("gpunn", "kernels", "tools", "docs", "tests/support"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=excluded)
    for file in ("pyproject.toml", "setup.py", "README.md"):  # the first identifies a source tree
        shutil.copy(ROOT / file, tmp_path)
    for place, text in PARTS.items():
        (tmp_path / "gpunn" / place).write_text(text)
    for place, rows in PRIMITIVE.items():
        whole = (tmp_path / place).read_text(encoding="utf-8")
        for before, text in rows.items():
            assert whole.count(f"\n{before}") == 1
            whole = whole.replace(f"\n{before}", f"\n{text}{before}")
        (tmp_path / place).write_text(whole, encoding="utf-8")
    for place, text in LAYER.items():
        with open(tmp_path / place, "a", encoding="utf-8") as added_to:
            added_to.write(text)
    run(tmp_path, "tools/exports.py")
    run(tmp_path, "tools/formulas.py")
    return tmp_path


def run(tree: Path, *command: str, timeout: int = 120, **environment: Any) -> str:
    paths = {"PYTHONPATH": f"{tree}:{tree / 'tests' / 'support'}"}
    done = subprocess.run(
        [sys.executable, *command], cwd=tree, env={**paths, **environment}, check=True,
        stdout=subprocess.PIPE, text=True, timeout=timeout,
    )  # fmt: skip
    return done.stdout


@pytest.mark.parametrize("place", PARTS)
def test_it_is_few_lines(place: str) -> None:
    """Statements except imports and strings: what a user has to write."""
    statements = [
        node for node in ast.walk(ast.parse(PARTS[place]))
        if isinstance(node, ast.stmt) and not isinstance(node, (ast.Import, ast.ImportFrom))
        and not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
    ]  # fmt: skip
    assert len(statements) <= MOST_STATEMENTS[place.split("/")[0]]


def test_one_file_is_enough(tree: Path) -> None:
    found = json.loads(run(tree, "-c", FIND).splitlines()[-1])
    assert found == {
        "exported": ["Algebraic", "algebraic"],
        "called": [0.5],
        "of a row": [0.1],
        "by name": "[Algebraic(b=3.0), 'charbonnier', 0.9]",
        "cases": {
            "activation": [["Algebraic", {}], ["Algebraic", {"b": 1.0}]],
            "loss": [["Charbonnier", {}]],
            "optimizer": [["Yogi", {}], ["Yogi", {"beta_1": 0.5}]],
        },
        "functors": [["b"], [], ["beta_1", "beta_2", "epsilon", "weight_decay"]],
    }
    page = (tree / "docs" / "reference" / "parts.md").read_text(encoding="utf-8")
    assert "| `Algebraic` | f(x) = x / sqrt(x^2 + b). |" in page


def test_a_fused_primitive_is_a_row_in_two_tables(tree: Path) -> None:
    done = run(tree, "-c", f"BACKENDS = ('numpy',)\n{FUSED}")
    assert done == "one function\n"


@pytest.mark.more
def test_it_computes_everywhere(tree: Path) -> None:
    """On NumPy, compiled for this CPU, by the GPU kernels, and in an ONNX file."""
    path = {"PATH": os.environ["PATH"]}  # where the compiler is
    run(tree, "setup.py", "-q", "build_ext", "--inplace", timeout=900, **path)
    done = run(tree, "-c", EVERYWHERE, timeout=900, **path)
    assert done.endswith("right everywhere\none function\n")


@pytest.mark.more
def test_it_computes_in_pages(tree: Path) -> None:
    """Compiled for browsers, from the same source."""
    browser.needed()
    home = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    run(tree, "tools/web.py", timeout=900, **home)
    assert run(tree, "-c", IN_PAGES, timeout=300, **home).endswith("right in pages\n")
