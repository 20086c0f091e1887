"""Monitor gradients through the layers, in figures and in words."""

from __future__ import annotations

import csv
import math
import os
import textwrap
import time
from typing import Any, cast

import numpy as np

from gpunn import activations
from gpunn.activations import curve
from gpunn.backends import get_backend
from gpunn.common.arguments import check_path, check_positive_integer, optional
from gpunn.common.atomic_files import make_folder_of
from gpunn.common.fields import field
from gpunn.common.stored import ByName, Several, Text
from gpunn.core.by_rows import complete_gradients
from gpunn.layers.as_operation import formula_of, is_formula, with_activation
from gpunn.ops.conversion import convert

from .callback import Callback, Logs, state
from .tensorboard import open_writer

FIGURES = ("gradient_norm", "weight_norm", "update_ratio", "dead", "saturated")
_COLUMNS = ("epoch", "batch", "layer", *FIGURES)

Finding = tuple[str, str, str]  # kind, layer, sentence

SHARE_OF_TIME = 0.02  # of training, spent with frequency="auto"
FAR_APART = 1e3  # between the mean gradients of two layers: one of them hardly learns
LARGE_STEP = 1.0  # update to weight norm: such a step overwrites the layer
LARGE_GRADIENT = 1e3  # gradient to weight norm: plain descent needs a rate far below 1e-3
FLAT = 0.04  # of the steepest slope: a sigmoid outside 0.01 to 0.99 is flatter
MANY = 0.5  # of the units: worth reporting


def _check_frequency(name: str, value: Any) -> Any:
    return value if value == "auto" else check_positive_integer(name, value)


class GradientMonitor(Callback):
    """Inspects single training steps and reports vanishing or exploding gradients.

    For each layer with weights it records, for one step (the last one of an epoch, if
    their number is known):

    - ``gradient_norm``: the Euclidean norm of its gradient (after clipping);
    - ``weight_norm``: the norm of its weights;
    - ``update_ratio``: how far the step moved them, divided by that; 1e-3 is typical;
    - ``dead``: the share of its units whose derivative is 0 for the whole batch (ReLU);
    - ``saturated``: the share of outputs where the derivative of a function with two
      flat ends is below 4% of its largest (a sigmoid below 0.01 or above 0.99).

    Findings are based on the root mean square of each layer's gradient. If two layers differ in it
    by a factor of more than a thousand, the layer with the smaller one hardly learns. The gradient
    is vanishing if that layer is nearer to the input (Hochreiter, 1991), else exploding. A gradient
    is also exploding if it is not finite, or if its norm is a thousand times the weights' norm.
    If a step is longer than the weights, training diverges: the learning rate is too high.

    Args:
        frequency: epochs between inspections; with ``"auto"`` they take 2% of the time.
        filename: a CSV file for the figures; it is overwritten, and its folder created.
        log_dir: a folder for TensorBoard (needs the extra ``tensorboard``).
        verbose: 1 prints each finding once per layer; 0 only records it.

    Attributes:
        records: a dictionary for each inspection and layer: ``epoch``, ``batch``, ``layer``
            and the figures; None for a figure that the layer does not have.
        findings: the findings, as sentences.

    Raises:
        ImportError: when training begins, if ``log_dir`` is given without the extra.

    >>> import gpunn
    >>> line = gpunn.layers.Dense(1, kernel_initializer="ones", name="line")
    >>> model = gpunn.Sequential([line])
    >>> model.compile("sgd", "mse")
    >>> x, y = [[0.0], [1.0]], [[1.0], [3.0]]
    >>> watch = gpunn.callbacks.GradientMonitor(frequency=1, verbose=0)
    >>> _ = model.fit(x, y, epochs=2, verbose=0, callbacks=[watch])
    >>> [(record["epoch"], record["layer"]) for record in watch.records], watch.findings
    ([(0, 'line'), (1, 'line')], [])
    """

    frequency: int | str = field(default="auto", check=_check_frequency)
    filename: str | os.PathLike[str] | None = field(default=None, check=optional(check_path))
    log_dir: str | os.PathLike[str] | None = field(default=None, check=optional(check_path))
    verbose: int = field(default=1)
    records: list[dict[str, Any]] = state(Several(ByName()), list)
    findings: list[str] = state(Several(Text()), list)
    _told: list[list[str]] = state(Several(Several(Text(), 2)), list)  # kinds and layers, sorted
    _due = False  # in this epoch
    _wanted = 0  # the batch to look at
    _before = cast("np.ndarray | None", None)  # the weights
    _writer = cast("Any", None)

    def on_train_begin(self, logs: Logs = None) -> None:
        self.model._training.keep_outputs()
        self._reset()
        self._due, self._before = False, None
        self._began, self._spent = time.perf_counter(), 0.0
        folder = self.log_dir
        self._writer = None if folder is None else open_writer(folder, "GradientMonitor")
        self._write_file([], "w")

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        self._epoch = epoch
        if isinstance(self.frequency, str):
            self._due = self._spent <= SHARE_OF_TIME * (time.perf_counter() - self._began)
        else:
            self._due = epoch % self.frequency == 0
        steps = (self.params or {}).get("steps")
        self._wanted = steps - 1 if steps else 0

    def next_train_batch(self, batch: int) -> int | None:
        return self._wanted if self._due and self._wanted >= batch else None

    def on_train_batch_begin(self, batch: int, logs: Logs = None) -> None:
        if self._due and batch == self._wanted:
            started = time.perf_counter()
            storage = self.model._storage
            self._before = storage.backend.read(storage.values)
            self._spent += time.perf_counter() - started

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        if self._before is None:
            return
        started = time.perf_counter()
        records = self._look(self._before, batch)
        self._before, self._due = None, False
        self.records += records
        self._write_file(records, "a")
        self._write_events(records)
        self._judge(records)
        self._spent += time.perf_counter() - started

    def on_train_end(self, logs: Logs = None) -> None:
        self.release()

    def release(self) -> None:
        """Close the event file, also if training ends with an error or Ctrl-C."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    # -- figures

    def _look(self, before: np.ndarray, batch: int) -> list[dict[str, Any]]:
        storage = self.model._storage
        complete_gradients(storage)
        read = storage.backend.read
        after, gradients = read(storage.values), read(storage.gradients)
        flatness: dict[str, dict[str, float | None]] = {}
        for call in self.model._trainer.last_batch.workspace.calls:
            flatness.setdefault(call.layer.name, _flatness(call, storage.backend))
        records: list[dict[str, Any]] = []
        for name, trained in self._trained().items():

            def norm(flat: np.ndarray, parameters: Any = tuple(trained)) -> float:
                return math.hypot(*(_norm(storage.segment(flat, p)) for p in parameters))

            weights = norm(after)
            records.append(
                {
                    "epoch": self._epoch,
                    "batch": batch,
                    "layer": name,
                    "gradient_norm": norm(gradients),
                    "weight_norm": weights,
                    "update_ratio": norm(after - before) / weights if weights else None,
                    **flatness.get(name, {"dead": None, "saturated": None}),
                }
            )
        return records

    def _trained(self) -> dict[str, list[Any]]:
        """Return the weights that the last step has trained, by the names of their layers."""
        trainer = self.model._trainer
        reached = trainer.last_batch.workspace.reached
        layers = {node.layer.name: node.layer.parameters for node in trainer.plan.nodes}
        found = {name: [p for p in own if id(p) in reached] for name, own in layers.items()}
        return {name: own for name, own in found.items() if own}

    # -- words

    def _judge(self, records: list[dict[str, Any]]) -> None:
        sizes = {name: sum(p.size for p in own) for name, own in self._trained().items()}
        found: list[Finding] = []
        finite: list[tuple[str, float]] = []  # root mean squares
        for record in records:
            name, norm = record["layer"], record["gradient_norm"]
            if math.isfinite(norm):
                finite.append((name, norm / math.sqrt(sizes[name])))
            found += _of_layer(name, norm, record)
        if len(finite) > 1:
            found += _of_ends(*finite[0], *finite[-1])
        for kind in dict.fromkeys(kind for kind, _, _ in found):
            new = [f for f in found if f[0] == kind and [*f[:2]] not in self._told]
            self._told = sorted([*self._told, *([*f[:2]] for f in new)])
            if new:
                self._tell(*new[0], others=len(new) - 1)

    def _tell(self, kind: str, name: str, sentence: str, others: int) -> None:
        title = f"{kind} gradients" if kind in ("vanishing", "exploding") else kind
        more = f", and likewise {others} more layers" if others else ""
        text = f"Epoch {self._epoch + 1}: {title}: {sentence}{more}."
        self.findings.append(text)
        if self.verbose:
            self._print(textwrap.fill(text, 79, subsequent_indent="  "))

    # -- files

    def _write_file(self, records: list[dict[str, Any]], mode: str) -> None:
        if self.filename is None:
            return
        make_folder_of(self.filename)
        with open(self.filename, mode, newline="", encoding="utf-8") as file:
            rows = csv.DictWriter(file, _COLUMNS)
            if mode == "w":
                rows.writeheader()
            rows.writerows(records)

    def _write_events(self, records: list[dict[str, Any]]) -> None:
        if self._writer is None:
            return
        for record in records:
            for figure in FIGURES:
                if record[figure] is not None:
                    tag = f"{record['layer']}/{figure}"
                    self._writer.add_scalar(tag, record[figure], record["epoch"])

    def set_state(self, state: dict[str, Any]) -> None:
        super().set_state(state)
        self._write_file(self.records, "w")


def _norm(array: np.ndarray) -> float:
    flat = array.reshape(-1).astype(np.float64)
    return math.sqrt(flat.dot(flat))


def _of_layer(name: str, norm: float, record: dict[str, Any]) -> list[Finding]:
    """Return the findings from a layer's own figures."""
    found: list[Finding] = []
    weights, step = record["weight_norm"], record["update_ratio"] or 0.0
    if not math.isfinite(norm):
        found.append(("exploding", name, f"that of {name!r} is not finite"))
    elif norm > LARGE_GRADIENT * weights > 0:
        found.append(
            ("exploding", name, f"that of {name!r} is {norm / weights:.1e} times its weights")
        )
    elif step > LARGE_STEP:
        found.append(("diverging", name, f"one step moved {name!r} by {step:.2g} times its norm"))
    for kind, what in (("dead", "units"), ("saturated", "outputs")):
        if (share := record[kind] or 0.0) >= MANY:
            found.append((kind, name, f"{share:.0%} of the {what} of {name!r}"))
    return found


def _of_ends(first: str, near_input: float, last: str, near_output: float) -> list[Finding]:
    """Return the findings from comparing the mean gradients in the first and the last layer."""
    sentence = (
        f"a weight of {first!r} gets {near_input:.1e} on average, one of {last!r} {near_output:.1e}"
    )
    if near_input * FAR_APART < near_output:
        return [("vanishing", first, sentence)]
    if near_output * FAR_APART < near_input:
        return [("exploding", first, sentence)]
    return []


def _flatness(call: Any, backend: Any) -> dict[str, float | None]:
    """Return the shares of dead units and of saturated outputs of a layer's activation."""
    activation = call.activation
    none: dict[str, float | None] = {"dead": None, "saturated": None}
    layer = call.layer
    own = is_formula(type(layer).call) and activation is getattr(layer, "activation", None)
    if activation is None or not own or activation.functor == "Linear" or activation.rowwise:
        return none
    saved = backend.read(call.y if activation.saves == "output" else call.x)
    if activation.saves == "input":
        of_sum = with_activation(layer, activations.linear)
        saved = formula_of(of_sum)(convert(saved), False).numpy()
    rows = saved.reshape(-1, saved.shape[-1])
    slope = np.empty_like(rows)
    activation.backward(get_backend("numpy"), rows, np.ones_like(rows), slope)
    steepest = steepest_slope(activation)
    if steepest is None:
        return {**none, "dead": float(np.mean(~slope.any(axis=0)))}
    return {**none, "saturated": float(np.mean(np.abs(slope) < FLAT * steepest))}


def steepest_slope(activation: Any) -> float | None:
    """Return the largest slope of a function that rises between two flat ends, else None."""
    known = activation.properties
    ends = known and (known.left, known.right)
    if not ends or not known.monotone or any(end is None or end[0] != 0 for end in ends):
        return None
    return float(np.max(curve(activation, np.linspace(-20, 20, 4001))[1]))
