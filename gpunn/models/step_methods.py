"""The methods of a model that are one step, which a subclass may replace, and their metrics."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from gpunn.ops.tensor import Tensor
from gpunn.structure.nested import PREDICTS

from .state_tree import StateTree

if TYPE_CHECKING:
    from gpunn.training.training import Training


class StepMethods(StateTree):
    """The part of `Model` that `fit`, `evaluate` and `predict` call for each batch, if its class
    replaces a method of it."""

    _abstract = True  # not an entry to look up

    if TYPE_CHECKING:
        _training: Training

    @property
    def _joint_losses(self) -> Any:
        """The losses of `compile`, if there is one of several outputs together; else None."""
        compiled = self._training.compiled
        return None if compiled is None else compiled.joint

    def _replaces_steps(self, names: Collection[str]) -> bool:
        """Whether the steps of these methods are its class's own, or of losses of several outputs
        together."""
        if not self._own_steps.isdisjoint(names):
            return True
        return self._joint_losses is not None and names != PREDICTS

    def train_step(self, data: Any) -> dict[str, Any]:
        """Train on one batch of tensors; return numbers for the logs, by name.

        A subclass may replace it, as in Keras: `fit` then calls it for each batch. It is traced
        and repeated as one program, unless it needs values in Python.

        Args:
            data: ``x``, ``(x, y)`` or ``(x, y, sample_weight)``, as passed to `fit`.

        >>> import gpunn
        >>> __name__ = "__main__"
        >>> class _Own(gpunn.Sequential):
        ...     def train_step(self, data):
        ...         logs = super().train_step(data)
        ...         return {**logs, "twice": 2 * logs["loss"]}
        >>> model = _Own([gpunn.layers.Dense(1, kernel_initializer="zeros")])
        >>> model.compile("sgd", "mse")
        >>> model.fit([[1.0]], [[3.0]], verbose=0).history
        {'loss': [9.0], 'twice': [18.0]}
        """
        return _steps().train_step(self, data)

    def test_step(self, data: Any) -> dict[str, Any]:
        """Evaluate one batch of tensors; return numbers for the logs, by name; see `train_step`.

        Args:
            data: ``x``, ``(x, y)`` or ``(x, y, sample_weight)``, as passed to `evaluate`.

        >>> import gpunn
        >>> __name__ = "__main__"
        >>> class _Own(gpunn.Sequential):
        ...     def test_step(self, data):
        ...         x, y = data
        ...         return {"largest": gpunn.ops.max(gpunn.ops.abs(y - self(x)))}
        >>> model = _Own([gpunn.layers.Dense(1, kernel_initializer="zeros")])
        >>> model.compile()
        >>> model.evaluate([[1.0], [1.0]], [[3.0], [-4.0]], verbose=0, return_dict=True)
        {'largest': 4.0}
        """
        return _steps().test_step(self, data)

    def predict_step(self, data: Any) -> Any:
        """Return the outputs for one batch of tensors; see `train_step`.

        Args:
            data: The inputs, as passed to `predict`.

        >>> import gpunn
        >>> __name__ = "__main__"
        >>> class _Own(gpunn.Sequential):
        ...     def predict_step(self, data):
        ...         return 10 * self(data)
        >>> model = _Own([gpunn.layers.Dense(1, kernel_initializer="ones")])
        >>> model.compile()
        >>> model.predict([[1.0], [2.0]], verbose=0).tolist()
        [[10.0], [20.0]]
        """
        return _steps().predict_step(self, data)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Tensor:
        """Return the loss of a batch: `compile`'s loss, and what layers add; for `train_step`.

        Args:
            x, training: As in Keras; a subclass that replaces it may use them.
            y: Targets (rows, ...).
            y_pred: Outputs of the model (rows, ...).
            sample_weight: Factor on the loss by row.

        >>> import gpunn
        >>> line = gpunn.layers.Dense(1, kernel_initializer="zeros")
        >>> model = gpunn.Sequential([gpunn.Input((1,)), line])
        >>> model.compile("sgd", "mse")
        >>> model.compute_loss(y=[[1.0]], y_pred=[[3.0]]).tolist()
        4.0
        """
        if (joint := self._joint_losses) is not None:
            return joint.compute(self, y, y_pred, sample_weight)
        return _steps().compute_loss(self, y, y_pred, sample_weight)

    def compute_metrics(
        self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None
    ) -> dict[str, Any]:
        """Add a batch to the metrics of `compile`; return the results of all, by name.

        Args:
            x: As in Keras; a subclass that replaces it may use it.
            y, y_pred: Tensors (rows, ...): targets, and outputs of the model.
            sample_weight: Factor on each row.

        >>> import gpunn
        >>> line = gpunn.layers.Dense(1, kernel_initializer="zeros")
        >>> model = gpunn.Sequential([gpunn.Input((1,)), line])
        >>> model.compile("sgd", "mse", metrics=["mae"])
        >>> y, y_pred = gpunn.ops.convert_to_tensor([[1.0]]), gpunn.ops.convert_to_tensor([[3.0]])
        >>> logs = model.compute_metrics(None, y, y_pred)
        >>> float(logs["mae"])
        2.0
        """
        return _steps().compute_metrics(self, y, y_pred, sample_weight)

    @property
    def metrics(self) -> list[Any]:
        """The mean of the loss, the metrics of `compile`, and those held by the model and its
        layers, as its own steps use them. `fit` resets them before each epoch.

        >>> import gpunn
        >>> line = gpunn.layers.Dense(1, kernel_initializer="zeros")
        >>> model = gpunn.Sequential([gpunn.Input((1,)), line])
        >>> model.compile("sgd", "mse", metrics=["mae"])
        >>> [metric.name for metric in model.metrics]
        ['loss', 'mae']
        """
        found = _steps().metrics_of(self)
        if (joint := self._joint_losses) is not None:
            found[1:1] = joint.means
        return found

    @property
    def compiled_loss(self) -> Any:
        """The loss of `compile` for a step of its own, as in Keras 2: ``compiled_loss(y, y_pred)``
        also counts it as ``"loss"``.

        >>> import gpunn
        >>> __name__ = "__main__"
        >>> class _Own(gpunn.Sequential):
        ...     def test_step(self, data):
        ...         x, y = data
        ...         return {"loss": self.compiled_loss(y, self(x))}
        >>> model = _Own([gpunn.layers.Dense(1, kernel_initializer="zeros")])
        >>> model.compile("sgd", "mse")
        >>> model.evaluate([[1.0]], [[3.0]], verbose=0)
        9.0
        """
        return _steps().CompiledLoss(self)

    @property
    def compiled_metrics(self) -> Any:
        """The metrics of `compile` together, as in Keras 2: ``update_state(y, y_pred)``.

        >>> import gpunn
        >>> __name__ = "__main__"
        >>> class _Own(gpunn.Sequential):
        ...     def test_step(self, data):
        ...         x, y = data
        ...         self.compiled_metrics.update_state(y, self(x))
        ...         return {metric.name: metric.result() for metric in self.metrics}
        >>> model = _Own([gpunn.layers.Dense(1, kernel_initializer="zeros")])
        >>> model.compile("sgd", "mse", metrics=["mae"])
        >>> model.evaluate([[1.0]], [[3.0]], verbose=0, return_dict=True)["mae"]
        3.0
        """
        return _steps().CompiledMetrics(self)

    def reset_metrics(self) -> None:
        """Reset all metrics to their state before the first batch; `fit` does it before each epoch.

        A callback that calls it in `fit` gets figures of the batches after it.

        >>> import gpunn
        >>> line = gpunn.layers.Dense(1, kernel_initializer="zeros")
        >>> model = gpunn.Sequential([gpunn.Input((1,)), line])
        >>> model.compile("sgd", "mse", metrics=["mae"])
        >>> loss = model.evaluate([[1.0]], [[2.0]], verbose=0)
        >>> model.reset_metrics()
        >>> model.get_metrics_result()
        {'loss': 0.0, 'mae': 0.0}
        """
        if (programs := self._training.programs) is not None:
            programs.reset_totals()
        for metric in self.metrics:
            metric.reset_state()

    def get_metrics_result(self) -> dict[str, Any]:
        """Return the results of all metrics, by name.

        >>> import gpunn
        >>> line = gpunn.layers.Dense(1, kernel_initializer="zeros")
        >>> model = gpunn.Sequential([gpunn.Input((1,)), line])
        >>> model.compile("sgd", "mse", metrics=["mae"])
        >>> model.get_metrics_result()  # of no batch
        {'loss': 0.0, 'mae': 0.0}
        """
        return _steps().result_of(self, self.metrics)


def _steps() -> Any:
    """Return the module of steps that models define themselves, which others do not load."""
    from gpunn.training.by_hand import steps

    return steps
