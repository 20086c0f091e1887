"""Nonlinear least squares for small models: SciPy's Levenberg-Marquardt with gpunn's Jacobian.

Instead of following the gradient, each step solves the linear least squares problem given by the
Jacobian of the outputs, damped as needed. It needs tens of evaluations where gradient descent needs
thousands of steps. Its cost grows with the square of the number of parameters, so it suits
hundreds of them, not millions.
Levenberg 1944, Marquardt 1963; More, "The Levenberg-Marquardt algorithm", 1978.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gpunn.backends import used_within
from gpunn.backends.contract.backend import Array, Backend
from gpunn.common.arguments import check_choice, check_integer, check_number
from gpunn.common.importing.lazy import extra
from gpunn.losses.loss import Loss
from gpunn.models import Model
from gpunn.optimizers import SGD

__all__ = ["LeastSquaresResult", "fit_least_squares", "output_jacobian"]


@dataclass
class LeastSquaresResult:
    """The result of `fit_least_squares`.

    Attributes:
        cost: 1 / (2 rows) sum (F(x) - y)^2, which is the loss ``"half_squared_error"``.
        evaluations: number of evaluations of the outputs.
        jacobians: number of evaluations of their Jacobian.
        success: whether a convergence criterion was met within the allowed evaluations.
        message: SciPy's message about that criterion.
        costs: the cost of each evaluation, including rejected steps.
    """

    cost: float
    evaluations: int
    jacobians: int
    success: bool
    message: str
    costs: list[float] = field(repr=False, default_factory=list)


def fit_least_squares(
    model: Model,
    x: Any,
    y: Any,
    *,
    sample_weight: Any = None,
    method: str = "lm",
    tolerance: float = 1e-8,
    max_evaluations: int | None = None,
) -> LeastSquaresResult:
    """Minimize the sum of squares of F(x) - y over all trainable parameters at once.

    It starts from the model's weights and leaves the model with the best ones found. Outputs and
    Jacobian are computed in float64 on the CPU, whatever the model's own dtype and backend. The
    model need not be compiled; it must compute the same in training as in prediction.

    Args:
        model: a built model.
        x: samples (rows, ...).
        y: targets in the shape of the outputs, (rows, ...).
        sample_weight: a factor on each row's squares (rows,), at least 0.
        method: method of ``scipy.optimize.least_squares``: ``"lm"``, MINPACK's
            Levenberg-Marquardt, or ``"trf"`` or ``"dogbox"``. MINPACK does not support more
            parameters than residuals; for it, residuals that are always zero are added, which
            change nothing.
        tolerance: relative change of the cost or of the parameters, or size of the gradient,
            below which it has converged.
        max_evaluations: maximum number of output evaluations; by default 100 per parameter.

    Returns:
        A `LeastSquaresResult` with the attributes ``cost``, ``evaluations``, ``jacobians``,
        ``success``, ``message`` and ``costs``.

    Raises:
        ImportError: without SciPy.
        ValueError: if shapes do not fit, or the model has dropout or similar layers.

    >>> import gpunn
    >>> from gpunn import fit_least_squares
    >>> model = gpunn.Sequential([gpunn.layers.Input((1,)), gpunn.layers.Dense(1)])
    >>> result = fit_least_squares(model, [[0.0], [1.0], [2.0]], [1.0, 3.0, 5.0])
    >>> [round(float(w.item()), 5) for w in model.get_weights()], result.success
    ([2.0, 1.0], True)
    """
    scipy = extra("scipy.optimize", "Nonlinear least squares needs SciPy", "scipy")
    check_choice("method", method, ("lm", "trf", "dogbox"))
    tolerance = check_number("tolerance", tolerance, 0)
    max_evaluations = check_integer("max_evaluations", max_evaluations, 1, None)
    twin = _Twin(model, x)
    targets = _targets(y, twin)
    factor = _factors(sample_weight, len(twin.x), targets.shape[1])
    padding = max(0, twin.size - targets.size) if method == "lm" else 0
    costs: list[float] = []

    def residuals(parameters: np.ndarray) -> np.ndarray:
        difference = factor * (twin.outputs(parameters) - targets).ravel()
        costs.append(0.5 * float(difference @ difference) / len(twin.x))
        return np.append(difference, np.zeros(padding))

    def jacobian(parameters: np.ndarray) -> np.ndarray:
        rows = factor[:, np.newaxis] * twin.jacobian(parameters)
        return np.vstack([rows, np.zeros((padding, twin.size))])

    start = twin.parameters()
    if max_evaluations is None:
        max_evaluations = 100 * twin.size
    if not np.isfinite(residuals(start)).all():
        raise ValueError("The model's outputs or y are not finite: the fit cannot start.")
    costs.clear()
    found = scipy.least_squares(
        residuals,
        start,
        jacobian,
        method=method,
        x_scale=1.0,  # with Jacobian scaling, the first step would saturate sigmoids for good
        ftol=tolerance,
        xtol=tolerance,
        gtol=tolerance,
        max_nfev=max_evaluations,
    )
    twin.put(found.x)
    model.load_weights_dict(twin.model.weights_dict())
    return LeastSquaresResult(
        cost=float(found.cost) / len(twin.x),
        evaluations=len(costs),
        jacobians=twin.jacobians,
        success=bool(found.success),
        message=str(found.message),
        costs=costs,
    )


def output_jacobian(model: Model, x: Any) -> np.ndarray:
    """Return the derivatives of all outputs by all trainable parameters, from the backward pass.

    Args:
        model: a built model.
        x: samples (rows, ...).

    Returns:
        (rows * outputs, parameters), float64: a row for each output of the first sample, then
        of the next; a column for each entry of each parameter, in the order of ``weights``.

    >>> import gpunn
    >>> model = gpunn.Sequential([gpunn.layers.Input((2,)), gpunn.layers.Dense(1)])
    >>> output_jacobian(model, [[3.0, 4.0]]).tolist()  # of w0 x0 + w1 x1 + b
    [[3.0, 4.0, 1.0]]
    """
    twin = _Twin(model, x)
    return twin.jacobian(twin.parameters())


class _Outputs(Loss):
    """sum y_true y_pred, whose gradient with respect to the outputs is y_true, which can be chosen
    freely."""

    def forward(self, backend: Backend, y_true: Array, y_pred: Array, values: Array) -> None:
        backend.xp.einsum("ij,ij->i", y_true, y_pred, out=values)

    def backward(self, backend: Backend, y_true: Array, y_pred: Array, gradient: Array) -> None:
        gradient[...] = y_true


class _Twin:
    """A copy of a model in float64 on the CPU, with its outputs and Jacobian at any weights."""

    def __init__(self, model: Model, x: Any) -> None:
        model._require_values("fit_least_squares")
        config = _without_dtype(model.get_config())
        if not model._has_call:
            config["dtype"] = "float64"
        with used_within("numpy"):  # the constructor of a user's model may not take one, or a dtype
            self.model: Any = type(model).from_config(config)
        if not self.model.built:
            self.model._builder.dtype_given = "float64"
            self.model.build(model.input_shape)
        weights = {path: w.astype(np.float64) for path, w in model.weights_dict().items()}
        self.model.load_weights_dict(weights)
        self.trained = [p for p in self.model.weights if p.trainable]
        self.size = sum(p.size for p in self.trained)
        if not self.size:
            raise ValueError(f"The model {model.name!r} has no trainable parameters.")
        # A step with learning rate 0 keeps the weights and computes the gradients.
        self.model.compile(SGD(0.0), _Outputs(reduction="sum"))
        self.x = np.asarray(x, np.float64)
        self.jacobians = 0
        predicted = self.model.predict(self.x, verbose=0)
        self.shape = predicted.shape[1:]
        if not np.allclose(self.model(self.x, training=True), predicted, equal_nan=True):
            raise ValueError(
                f"The model {model.name!r} computes something else in training than in prediction "
                f"(dropout, noise, batch normalization): least squares needs a single function."
            )

    def parameters(self) -> np.ndarray:
        return np.concatenate([p.numpy().ravel() for p in self.trained])

    def put(self, parameters: np.ndarray) -> None:
        start = 0
        for p in self.trained:
            p.assign(parameters[start : start + p.size].reshape(p.shape))
            start += p.size

    def outputs(self, parameters: np.ndarray) -> np.ndarray:
        """Return the outputs (rows, outputs)."""
        self.put(parameters)
        return self.model.predict(self.x, verbose=0).reshape(len(self.x), -1)

    def jacobian(self, parameters: np.ndarray) -> np.ndarray:
        """Return the Jacobian (rows * outputs, parameters), by a backward pass per output and
        sample."""
        self.put(parameters)
        self.jacobians += 1
        outputs = int(np.prod(self.shape))
        rows = np.empty((len(self.x), outputs, self.size))
        units = np.eye(outputs).reshape(outputs, 1, *self.shape)
        for sample in range(len(self.x)):
            for output in range(outputs):
                self.model.train_on_batch(self.x[sample : sample + 1], units[output])
                gradients = self.model.gradients().values()
                rows[sample, output] = np.concatenate([g.ravel() for g in gradients])
        return rows.reshape(-1, self.size)


def _without_dtype(config: Any) -> Any:
    if isinstance(config, dict):
        return {key: _without_dtype(value) for key, value in config.items() if key != "dtype"}
    return [_without_dtype(value) for value in config] if isinstance(config, list) else config


def _targets(y: Any, twin: _Twin) -> np.ndarray:
    targets = np.asarray(y, np.float64)
    expected = (len(twin.x), *twin.shape)
    if targets.shape != expected and (*targets.shape, 1) != expected:
        raise ValueError(
            f"y has shape {targets.shape}; the outputs have {expected}. For class numbers pass "
            f"gpunn.utils.to_categorical(y)."
        )
    return targets.reshape(len(targets), -1)


def _factors(sample_weight: Any, rows: int, outputs: int) -> np.ndarray:
    """Return the square roots of the weights, one for each residual."""
    if sample_weight is None:
        return np.ones(rows * outputs)
    weights = np.asarray(sample_weight, np.float64)
    if weights.shape != (rows,) or not (weights >= 0).all():
        raise ValueError(
            f"sample_weight must be a number of at least 0 for each of the {rows} rows; its "
            f"shape is {weights.shape}."
        )
    return np.repeat(np.sqrt(weights), outputs)
