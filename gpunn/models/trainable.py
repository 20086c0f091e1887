"""The methods of a model that train it, evaluate it and predict with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gpunn.callbacks import History
from gpunn.callbacks.streams import check_verbose
from gpunn.common import config, registry
from gpunn.common.arguments import check_choice, check_epochs, check_fraction, check_integer
from gpunn.common.names import shorten
from gpunn.common.signatures import suggesting
from gpunn.core.draws import draws_here
from gpunn.core.recording import recorded
from gpunn.layers.applying import symbolic_outputs
from gpunn.layers.parameters import losses_of
from gpunn.layers.symbolic import is_symbolic
from gpunn.layers.traced import is_traced
from gpunn.ops.op_arguments import inputs_as_tensors
from gpunn.ops.tensor import Tensor
from gpunn.ops.trace import called
from gpunn.structure.nested import PREDICTS, TESTS, TRAINS
from gpunn.training import fitting, predicting
from gpunn.training.trainer import Trainer
from gpunn.training.training import Training

from .step_methods import StepMethods

INTERRUPTED = (
    "fit was interrupted: the model has the weights after its last whole step, and the next fit "
    "continues from them."
)
PUT_BACK = "fit was interrupted: the model is as it was before."


def _of_training(name: str, doc: str) -> Any:
    """Return a property of a model that is an attribute of its `Training`."""

    def get(model: TrainableModel) -> Any:
        return getattr(model._training, name)

    def set_(model: TrainableModel, value: Any) -> None:
        setattr(model._training, name, value)

    return property(get, set_, None, doc)


class TrainableModel(StepMethods):
    """The part of `Model` that trains: it passes its arguments, checked, to `gpunn.training`."""

    _abstract = True  # not an entry to look up
    __experimental__ = frozenset({"last_activations", "set_training_state", "training_state"})
    _not_watched = StepMethods._not_watched | {
        "_training", "stop_training", "stop_evaluating", "stop_predicting", "_resume_from",
        "history", "trained_on", "optimizer", "loss", "matmul_precision",
    }
    stop_training = stop_evaluating = stop_predicting = False
    """Set by callbacks; checked after every batch and epoch."""
    _resume_from: tuple[int, int] | None = None
    """Epoch and batch to resume from, set by BackupAndRestore when training begins."""
    history: History | None = None
    trained_on: Mapping[str, Any] = {}
    """Facts about the training data, saved with the model, to prepare other data alike: ``fit``
    stores the ``range`` of a single input, and for pictures in the form of MNIST's digits how they
    were scaled; the command line stores more. See ``docs/reference/file-format.md``."""
    _training: Training

    optimizer = _of_training("optimizer", "The optimizer; None before `compile`.")
    loss = _of_training("loss", "The loss, or a list with one for each of several outputs.")
    matmul_precision = _of_training("matmul_precision", "See `compile`.")

    @property
    def _trainer(self) -> Trainer | None:
        """The trainer; None before the model is built and compiled."""
        return self._training.trainer

    @property
    def _programs(self) -> Any:
        """The programs of the steps that train the model; None before the first."""
        return _trainer_for(self, TRAINS).programs

    @property
    def compiled(self) -> bool:
        """Whether `compile` was called.

        >>> import gpunn
        >>> line = gpunn.layers.Dense(1, kernel_initializer="zeros")
        >>> model = gpunn.Sequential([gpunn.Input((1,)), line])
        >>> model.compiled
        False
        """
        return self._training.compiled is not None

    @property
    def _in_training(self) -> bool:
        """Whether a call that trains the model is running."""
        return self._training.exclusive.holder is not None

    @property
    def run_eagerly(self) -> bool:
        """The ``run_eagerly`` argument of `compile`; may be set at any time.

        >>> import gpunn
        >>> line = gpunn.layers.Dense(1, kernel_initializer="zeros")
        >>> model = gpunn.Sequential([gpunn.Input((1,)), line])
        >>> model.compile("sgd", "mse", run_eagerly=True)
        >>> model.run_eagerly
        True
        """
        return self._training.eager

    @run_eagerly.setter
    def run_eagerly(self, eager: bool) -> None:
        self._training.eager = eager

    @suggesting
    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        loss_weights: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        run_eagerly: bool = False,
        steps_per_execution: int = 1,
        jit_compile: Any = "auto",
        auto_scale_loss: bool = True,
        matmul_precision: str | None = None,
    ) -> None:
        """Configure the model for training: set optimizer, loss and metrics.

        An optimizer object that trained this model before keeps its state, as in Keras; any other
        starts from zero.

        Args:
            optimizer: Name or object; with None the model can be evaluated but not trained.
            loss: Name or object. For several outputs, a list, or a dictionary by output name, in
                which None means no loss; a single loss applies to every output. In a list beside
                outputs in a dictionary or tuple, each loss gets all of them, as Keras's does:
                ``[of_all, {"a": "mse", "b": "mae"}]``. Without a loss,
                training minimizes the losses that layers add by `add_loss`, and y is optional.
            loss_weights: Factor of each output's loss in the minimized sum.
            metrics: List of names, objects or functions, not weighted; for several outputs a
                list or dictionary of such lists.
            weighted_metrics: Likewise, weighted by sample and class weights.
            matmul_precision: None, or the format to which matrix products in training and
                evaluation may round their factors, to use a GPU's tensor cores:
                "tf32" keeps 10 bits after the leading one of float32's 23, "bfloat16" 7.
                Sums and everything else stay float32, and so do `predict` and small steps
                that are one kernel, whose products use no tensor cores. It requires a
                GPU of compute capability 8.0 or newer (RTX 30xx, A100); on the NumPy
                backend it has no effect, with one notice.
            run_eagerly: Whether to call user-defined code, such as a layer's ``call``, with
                concrete values in each step, for debugging: see `gpunn.config.run_eagerly`.
            steps_per_execution, jit_compile, auto_scale_loss: Accepted for compatibility with
                Keras and ignored: gpunn decides how many steps to launch at once.

        Raises:
            ValueError: for unknown names, if the loss and the last activation disagree
                about logits, and for a ``matmul_precision`` that the GPU does not support
                or a float64 model cannot use.

        >>> import gpunn
        >>> line = gpunn.layers.Dense(1, kernel_initializer="zeros")
        >>> model = gpunn.Sequential([gpunn.Input((1,)), line])
        >>> model.compile(optimizer="adam", loss="mse", metrics=["mae"])
        >>> model.metrics_names
        ['loss', 'mae']
        """
        self._training.compile(
            optimizer=optimizer,
            loss=loss,
            loss_weights=loss_weights,
            metrics=metrics,
            weighted_metrics=weighted_metrics,
            run_eagerly=run_eagerly,
            matmul_precision=matmul_precision,
        )

    @suggesting
    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: Any = "auto",
        callbacks: Any = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: Mapping[int, float] | str | None = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: Any = 1,
        *,
        validation_strategy: str = "tail",
    ) -> History:
        """Train the model for a number of epochs.

        Args:
            x: Input data (rows, ...): a NumPy or CuPy array or any object with ``__dlpack__``; a
                pandas, polars or Arrow frame; or a SciPy sparse matrix, which is made dense batch
                by batch. For several inputs, a list, or a dictionary by input name. Or something
                that yields batches ``(x, y)`` or ``(x, y, weight)``.
            y: Targets (rows, ...), in the same forms; class indices (rows,) for a sparse loss.
            batch_size: Samples per step; the last batch may be smaller. Default 32, or, with
                ``steps_per_epoch``, the size that divides the rows among that many steps.
            epochs: Number of the last epoch (counted from ``initial_epoch``).
            verbose: 0 is silent. 1 prints a line per epoch, and shows a progress bar with metrics
                in a terminal or notebook. 2 prints only the line. ``"auto"`` is 1 in a terminal
                or notebook, otherwise 2.
            callbacks: A callback or a list of callbacks.
            validation_split: Fraction of the rows to validate on, with their ``sample_weight``.
            validation_data: ``(x, y)``, ``(x, y, weight)`` or batches. Each epoch starts again
                with the first batch; batches of a generator are kept in memory for that.
            shuffle: Whether each epoch visits the rows in a new order.
            class_weight: Factor on the loss by class, in training only: a dictionary, or
                ``"balanced"``, as in scikit-learn: rows / (classes * rows of the class), counted in
                all rows of ``y``.
            sample_weight: Factor on the loss by row.
            initial_epoch: Epoch to start from, to continue training a loaded model.
            steps_per_epoch: Batches per epoch; all by default.
            validation_steps, validation_batch_size, validation_freq: As in Keras. The batch size
                is ``batch_size`` by default, or divides the rows among the steps.
            validation_strategy: Which rows validation_split takes: ``"tail"`` (as
                Keras), ``"shuffled"`` or ``"stratified"``.

        Returns:
            A History whose ``history`` maps each metric to its values by epoch. Metrics
            without ``val_`` are means over the epoch while the weights change.

        Raises:
            ValueError, TypeError: for invalid data or arguments, before the first step.
            RuntimeError: if the model is already being trained, by another thread or by the
                call that runs a callback.
            gpunn.models.NonFiniteLossError: if the loss becomes NaN or infinite.
            gpunn.models.OutOfMemoryError: if a batch does not fit in device memory; the message
                names a batch size that would fit. Data that do not fit are streamed from the
                host, with a notice.

        >>> import gpunn
        >>> line = gpunn.layers.Dense(1, kernel_initializer="zeros")
        >>> model = gpunn.Sequential([gpunn.Input((1,)), line])
        >>> model.compile("sgd", "mse", metrics=["mae"])
        >>> x, y = [[1.0], [2.0]], [[2.0], [4.0]]
        >>> history = model.fit(x, y, epochs=2, verbose=0)
        >>> history.history["loss"][0], history.history["mae"][0]  # (4 + 16) / 2, (2 + 4) / 2
        (10.0, 3.0)
        """
        batch_size = check_integer("batch_size", batch_size, 1, None)
        initial_epoch = check_integer("initial_epoch", initial_epoch, 0)
        epochs = check_integer("epochs", epochs, 0)
        if (most := config.max_epochs()) is not None:
            epochs = min(epochs, initial_epoch + most)
        steps = check_integer("steps_per_epoch", steps_per_epoch, 1, None)
        validation_steps = check_integer("validation_steps", validation_steps, 1, None)
        validation_batch = check_integer(
            "validation_batch_size", validation_batch_size, 1, batch_size
        )
        check_fraction("validation_split", validation_split, below_one=True)
        check_choice("validation_strategy", validation_strategy, ("tail", "shuffled", "stratified"))
        validates = validation_data is not None or bool(validation_split)
        source = _trainer_for(self, (*TRAINS, *TESTS) if validates else TRAINS)
        frequency = check_epochs("validation_freq", validation_freq)
        verbose = check_verbose(verbose)
        try:
            return fitting.fit(
                self, source, x, y, batch_size, epochs, verbose, callbacks, validation_split,
                validation_data, shuffle, class_weight, sample_weight, initial_epoch, steps,
                validation_steps, validation_batch, frequency, validation_strategy,
            )
        except KeyboardInterrupt as stop:
            trainer = self._training._trainer if source is self._training else None
            given = callbacks if isinstance(callbacks, (list, tuple)) else [callbacks]
            note = None
            if any(getattr(callback, "_puts_back", False) for callback in given):
                note = PUT_BACK
            elif trainer is not None and trainer.is_simple:
                # Optimizers and steps of the user's own may have been interrupted at any moment.
                note = INTERRUPTED
            if note is not None and note not in getattr(stop, "__notes__", ()):
                stop.add_note(note)
            raise

    @suggesting
    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: Any = "auto",
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Any = None,
        return_dict: bool = False,
    ) -> Any:
        """Compute loss and metrics on data with the current weights.

        Args:
            x, y, sample_weight: As for `fit`.
            batch_size: Rows per batch. By default gpunn chooses a size, or, with ``steps``, the
                size that divides the rows among that many steps.
            steps: Number of batches; all by default.
            verbose, callbacks: As for `fit`.
            return_dict: Whether to return a dictionary.

        Returns:
            The loss, or, with metrics, a list ``[loss, metric, ...]``; with
            ``return_dict``, a dictionary by name.

        Raises:
            ValueError, TypeError: for invalid data or arguments, and for a model that is not
                compiled.

        >>> import gpunn
        >>> line = gpunn.layers.Dense(1, kernel_initializer="zeros")
        >>> model = gpunn.Sequential([gpunn.Input((1,)), line])
        >>> model.compile("sgd", "mse", metrics=["mae"])
        >>> model.evaluate([[1.0], [2.0]], [[2.0], [4.0]], verbose=0)  # (4 + 16) / 2, (2 + 4) / 2
        [10.0, 3.0]
        """
        batch_size = check_integer("batch_size", batch_size, 1, None)
        steps = check_integer("steps", steps, 1, None)
        trainer, verbose = _trainer_for(self, TESTS), check_verbose(verbose)
        logs = fitting.evaluate(
            self, trainer, x, y, batch_size, verbose, sample_weight, steps, callbacks
        )
        return _result(logs, return_dict)

    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: Any = "auto",
        steps: int | None = None,
        callbacks: Any = None,
    ) -> Any:
        """Return the outputs for ``x`` as a NumPy array (rows, ...).

        A model with several outputs returns them in the structure of its ``outputs``.

        Args:
            x: Samples, or something that yields batches of them.
            batch_size: As for `evaluate`.
            verbose, callbacks: As for `fit`.
            steps: Number of batches; all by default.

        Returns:
            A NumPy array (rows, ...), or several in the structure of the model's outputs.

        Raises:
            ValueError, TypeError: for data that do not fit the model's inputs.

        >>> import gpunn
        >>> line = gpunn.layers.Dense(1, kernel_initializer="ones")
        >>> model = gpunn.Sequential([gpunn.Input((2,)), line])
        >>> model.predict([[1.0, 2.0], [3.0, 4.0]], verbose=0).tolist()
        [[3.0], [7.0]]
        """
        size = None if batch_size is None else check_integer("batch_size", batch_size, 1)
        steps = None if steps is None else check_integer("steps", steps, 1)
        check_verbose(verbose)
        try:  # not `suggesting`, which would be one call more of a prediction
            if self._own_steps and (custom := _custom_trainer(self, PREDICTS)):
                return custom.predict(custom.trainer_of(self), x, size, steps, callbacks)
            return predicting.predict(self, x, size, steps, callbacks)
        except KeyboardInterrupt as stop:
            shorten(stop)
            raise

    @suggesting
    def train_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: Mapping[int, float] | None = None,
        return_dict: bool = False,
    ) -> Any:
        """Run one update on one batch; return its loss (before the update) and metrics.

        Args:
            x, y: The batch (rows, ...), as for `fit`.
            sample_weight: Factor on the loss by row.
            class_weight: Factor on the loss by class.
            return_dict: Whether to return a dictionary by name.

        Returns:
            The loss, or, with metrics, a list ``[loss, metric, ...]``; with ``return_dict``, a
            dictionary.

        >>> import gpunn
        >>> line = gpunn.layers.Dense(1, kernel_initializer="zeros")
        >>> model = gpunn.Sequential([gpunn.Input((1,)), line])
        >>> model.compile("sgd", "mse", metrics=["mae"])
        >>> model.train_on_batch([[1.0], [2.0]], [[2.0], [4.0]])
        [10.0, 3.0]
        >>> print(line.kernel.numpy().round(4))  # 0 + 0.01 * 10: rate times gradient
        [[0.1]]
        """
        if custom := _custom_trainer(self, TRAINS):
            logs = custom.on_batch(self, "train_step", x, y, sample_weight, class_weight)
            return _result(logs, return_dict)
        logs = fitting.train_on_batch(self._training, x, y, sample_weight, class_weight)
        return _result(logs, return_dict)

    @suggesting
    def test_on_batch(
        self, x: Any, y: Any = None, sample_weight: Any = None, return_dict: bool = False
    ) -> Any:
        """Compute loss and metrics on one batch.

        Args:
            x, y, sample_weight, return_dict: As for `train_on_batch`.

        Returns:
            As `train_on_batch`; no weight is changed.

        >>> import gpunn
        >>> line = gpunn.layers.Dense(1, kernel_initializer="zeros")
        >>> model = gpunn.Sequential([gpunn.Input((1,)), line])
        >>> model.compile("sgd", "mse", metrics=["mae"])
        >>> model.test_on_batch([[1.0], [2.0]], [[2.0], [4.0]], return_dict=True)
        {'loss': 10.0, 'mae': 3.0}
        """
        if custom := _custom_trainer(self, TESTS):
            logs = custom.on_batch(self, "test_step", x, y, sample_weight, None)
            return _result(logs, return_dict)
        return _result(fitting.test_on_batch(self._training, x, y, sample_weight), return_dict)

    def predict_on_batch(self, x: Any) -> Any:
        """Return the outputs for one batch.

        Args:
            x: The batch (rows, ...).

        Returns:
            As `predict`.

        >>> import gpunn
        >>> line = gpunn.layers.Dense(1, kernel_initializer="ones")
        >>> gpunn.Sequential([gpunn.Input((2,)), line]).predict_on_batch([[1.0, 2.0]]).tolist()
        [[3.0]]
        """
        try:
            if self._own_steps and (custom := _custom_trainer(self, PREDICTS)):
                return custom.predict(custom.trainer_of(self), x, None, None, None)
            return predicting.predict_on_batch(self._training, x)
        except KeyboardInterrupt as stop:
            shorten(stop)
            raise

    @recorded
    def __call__(self, x: Any = None, /, training: bool | None = None, **options: Any) -> Any:
        """Return the outputs for one batch, as tensors. `predict` returns NumPy arrays.

        With ``training``, dropout is active. On symbolic tensors the model is applied as a layer
        and returns symbolic tensors. A custom `call` takes further ``options``. The batch may also
        be passed by Keras's name ``inputs``, or by that of a custom `call`.

        Raises:
            TypeError: for options that no `call` takes, and on symbolic tensors, for any.

        >>> import gpunn
        >>> line = gpunn.layers.Dense(1, kernel_initializer="ones")
        >>> gpunn.Sequential([gpunn.Input((2,)), line])([[1.0, 2.0]]).tolist()
        [[3.0]]
        """
        if x is None:
            from gpunn.structure.calls import input_by_name

            x = input_by_name(self, options)
        if options and (is_symbolic(x) or not self._has_call):
            raise TypeError(
                f"{self.name} takes x and training; got {', '.join(options)}. A custom call may "
                f"take more, for arrays and tensors."
            )
        if is_symbolic(x):
            made = symbolic_outputs(self, x, training)
            return self._builder.known_graph("outputs").output_form.pack(made)
        if is_traced(x):
            given = inputs_as_tensors(x, self._builder.dtype)
            return called(self, self._call_in_trace, given, training, options)
        if draws_here(self):
            return predicting.run_in_trace(self._training, self, x, training, options)
        if options:
            return predicting.run_with(self._training, self, x, training, options)
        return predicting.run(self._training, x, training)

    @property
    def losses(self) -> list[Tensor]:
        """Losses that layers added in the last call on arrays, ``model(x)``, or inside the tape,
        and the penalties on trained weights.

        Raises:
            TypeError: inside a call, where losses belong to the step.

        >>> import gpunn
        >>> l2 = gpunn.regularizers.L2(0.5)
        >>> line = gpunn.layers.Dense(1, kernel_initializer="ones", kernel_regularizer=l2)
        >>> model = gpunn.Sequential([gpunn.Input((4,)), line])
        >>> [loss.tolist() for loss in model.losses]  # 0.5 * 4
        [2.0]
        """
        return losses_of(self, self._training.added)

    def activations(self, x: Any) -> dict[str, np.ndarray]:
        """Return the output of every layer for the samples ``x`` (batch, ...), by layer name.

        Further outputs of a layer that is applied again are ``name:1``, ``name:2``, ...

        >>> import gpunn
        >>> layers = [gpunn.layers.Dense(1, kernel_initializer="ones", name="sum")]
        >>> layers.append(gpunn.layers.Rescaling(10.0, name="tens"))
        >>> model = gpunn.Sequential([gpunn.Input((2,)), *layers])
        >>> {name: y.tolist() for name, y in model.activations([[1.0, 2.0]]).items()}
        {'sum': [[3.0]], 'tens': [[30.0]]}
        """
        return predicting.activations(self._training, x)

    def last_activations(self) -> dict[str, np.ndarray]:
        """Return the output of every layer in the last training step, by name; empty before one.

        On a GPU, steps do not write the output of a convolution that only a pooling reads: it is
        missing the first time. Steps after that write the outputs of all layers.

        >>> import gpunn
        >>> line = gpunn.layers.Dense(1, kernel_initializer="zeros")
        >>> model = gpunn.Sequential([gpunn.Input((1,)), line])
        >>> model.compile("sgd", "mse")
        >>> model.last_activations()
        {}
        >>> loss = model.train_on_batch([[1.0]], [[2.0]])
        >>> [y.tolist() for y in model.last_activations().values()]
        [[[0.0]]]
        """
        return predicting.last_activations(self._training)

    @property
    def metrics_names(self) -> list[str]:
        """Names of the values that evaluate returns, in order.

        >>> import gpunn
        >>> line = gpunn.layers.Dense(1, kernel_initializer="zeros")
        >>> model = gpunn.Sequential([gpunn.Input((1,)), line])
        >>> model.compile("sgd", "mse", metrics=["mae"])
        >>> model.metrics_names
        ['loss', 'mae']
        """
        return self._trainer.log_names if self._trainer else ["loss"]

    def training_state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return optimizer slots, control block and seeds: all state that the next step needs.

        >>> import gpunn
        >>> line = gpunn.layers.Dense(1, kernel_initializer="zeros")
        >>> model = gpunn.Sequential([gpunn.Input((1,)), line])
        >>> model.compile(gpunn.optimizers.SGD(momentum=0.9), "mse")
        >>> loss = model.train_on_batch([[1.0]], [[2.0]])
        >>> tensors, values = model.training_state()
        >>> values["learning_rate"]
        0.01
        >>> model.set_training_state(tensors, values)
        """
        return _keeper(self).state()

    def set_training_state(
        self, tensors: Mapping[str, np.ndarray], document: Mapping[str, Any]
    ) -> None:
        """Restore a state of `training_state`, so that training resumes exactly.

        Args:
            tensors, document: The two parts of the state.

        >>> import gpunn
        >>> line = gpunn.layers.Dense(1, kernel_initializer="zeros")
        >>> model = gpunn.Sequential([gpunn.Input((1,)), line])
        >>> model.compile("adam", "mse")
        >>> model.set_training_state(*model.training_state())
        """
        _keeper(self).set_state(tensors, document)

    def get_compile_config(self) -> dict[str, Any] | None:
        """Return the arguments of `compile` as JSON-serializable values; None before `compile`.

        >>> import gpunn
        >>> line = gpunn.layers.Dense(1, kernel_initializer="zeros")
        >>> model = gpunn.Sequential([gpunn.Input((1,)), line])
        >>> model.compile("sgd", "mse", metrics=["mae"])
        >>> config = model.get_compile_config()
        >>> config["optimizer"]["class_name"], config["metrics"]
        ('SGD', ['mae'])
        """
        compiled = self._training.compiled
        if compiled is None:
            return None
        return {
            "optimizer": registry.serialize(self.optimizer),
            **compiled.get_config(),
            "matmul_precision": self.matmul_precision,
            **({"run_eagerly": True} if self.run_eagerly else {}),
        }

    def compile_from_config(self, config: Mapping[str, Any]) -> None:
        """Call `compile` with a config from `get_compile_config`.

        Args:
            config: The arguments of `compile`, with classes and functions by their names.

        >>> import gpunn
        >>> line = gpunn.layers.Dense(1, kernel_initializer="zeros")
        >>> model = gpunn.Sequential([gpunn.Input((1,)), line])
        >>> model.compile("sgd", "mse", metrics=["mae"])
        >>> clone = gpunn.models.clone_model(model)
        >>> clone.compile_from_config(model.get_compile_config())
        >>> type(clone.optimizer).__name__
        'SGD'
        """
        self.compile(**config)


def _custom_trainer(model: TrainableModel, names: tuple[str, ...]) -> Any:
    """Return the module that trains a model by its own steps, if it has one of these."""
    if not model._replaces_steps(names):
        return None
    from gpunn.training.by_hand import trainer

    return trainer


def _trainer_for(model: TrainableModel, names: tuple[str, ...]) -> Any:
    """Return what trains and evaluates a model, whose class may define one of these steps."""
    custom = _custom_trainer(model, names)
    return custom.trainer_of(model) if custom else model._training


def _keeper(model: TrainableModel) -> Any:
    """Return what keeps the training state of a model."""
    return _trainer_for(model, (*TRAINS, *TESTS, *PREDICTS)) if model.compiled else model._training


def _result(logs: dict[str, float], return_dict: bool) -> Any:
    if return_dict:
        return logs
    values = list(logs.values())
    return values if len(values) > 1 else values[0]
