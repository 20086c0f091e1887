"""Event files for TensorBoard, written without TensorFlow."""

from __future__ import annotations

import json
import os
import time
from typing import Any

import numpy as np

from gpunn.common.arguments import check_count, check_path, check_positive_integer, requirement
from gpunn.common.fields import field
from gpunn.common.importing.lazy import extra
from gpunn.common.names import warn

from .callback import Callback, Logs


def _check_update_freq(name: str, value: Any) -> str | int:
    if value == "epoch":
        return "epoch"
    return 1 if value == "batch" else int(check_positive_integer(name, value))


_check_absent = requirement("0: gpunn does not support it", lambda value: not value)


class TensorBoard(Callback):
    """Writes figures and histograms for TensorBoard to read (``tensorboard --logdir logs``).

    ``log_dir/train`` gets ``epoch_loss``, ``epoch_accuracy``, ``epoch_learning_rate`` and so
    on, ``log_dir/validation`` the same for validation. Needs the extra ``tensorboard``
    (tensorboardX); with ``write_images`` the extra ``image`` as well.

    Args:
        log_dir: folder of the event files.
        histogram_freq: number of epochs between histograms of each weight, of its gradient in
            the last step and of each layer's output in it; 0 for none.
        write_graph: write the layers, for the page "Graphs" (tag "keras").
        write_images: with the histograms, also write each weight as a grey image.
        write_steps_per_second: write the number of training steps per second.
        update_freq: ``"epoch"``, ``"batch"``, or a number of batches after which to write
            the running figures as ``batch_loss`` and so on.
        profile_batch: accepted as in Keras, a number or a pair, and ignored with a warning:
            `gpunn doctor --step` lists the operations of a step, their launches and times.
        embeddings_freq: must be 0; embeddings are not supported.
        embeddings_metadata: None.

    Raises:
        ImportError: when training begins, if the extra is not installed.
        ValueError: for an invalid frequency, or an unsupported feature.

    >>> import gpunn, os, tempfile
    >>> model = gpunn.Sequential([gpunn.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> x, y = [[0.0], [1.0]], [[1.0], [3.0]]
    >>> folder = tempfile.TemporaryDirectory()
    >>> board = gpunn.callbacks.TensorBoard(folder.name)
    >>> _ = model.fit(x, y, epochs=2, verbose=0, callbacks=[board])
    >>> os.listdir(folder.name)
    ['train']
    >>> folder.cleanup()
    """

    writes = True

    log_dir: str | os.PathLike[str] = field(default="logs", check=check_path)
    histogram_freq: int = field(default=0, check=check_count)
    write_graph: bool = field(default=True)
    write_images: bool = field(default=False)
    write_steps_per_second: bool = field(default=False)
    update_freq: str | int = field(default="epoch", check=_check_update_freq)
    profile_batch: Any = field(default=0)
    embeddings_freq: int = field(default=0, check=_check_absent)
    embeddings_metadata: Any = field(default=None)
    _training = False
    _step = 0  # training batches so far

    def __post_init__(self) -> None:
        self._writers: dict[str, Any] = {}
        self._marks: dict[str, tuple[float, int]] = {}  # when, and at which step, a count began
        if self.profile_batch:
            warn(
                f"profile_batch={self.profile_batch!r} is ignored. `gpunn doctor --step "
                f"model.gpunn` lists the operations of a step, their launches and times."
            )

    @property
    def needs_train_batches(self) -> bool:
        return self.update_freq != "epoch"

    def on_train_begin(self, logs: Logs = None) -> None:
        self._training = True
        if self.histogram_freq:
            self.model.last_activations()  # from now on they are complete
        writer = self._writer("train")
        if self.write_graph:
            writer.file_writer.add_summary(_model_summary(self.model), 0)

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        self._step = _batches(self.model)
        self._marks = dict.fromkeys(("epoch", "batch"), (time.perf_counter(), self._step))

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        self._step += 1
        if isinstance(self.update_freq, str) or self._step % self.update_freq:
            return
        figures = {f"batch_{name}": value for name, value in (logs or {}).items()}
        self._write("train", {**figures, **self._speed("batch")}, self._step)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        logs = logs or {}
        figures = {f"epoch_{k}": v for k, v in logs.items() if not k.startswith("val_")}
        figures["epoch_learning_rate"] = self.model.optimizer.learning_rate
        self._step = _batches(self.model)
        self._write("train", {**figures, **self._speed("epoch")}, epoch)
        validation = {f"epoch_{k[4:]}": v for k, v in logs.items() if k.startswith("val_")}
        if validation:
            self._write("validation", validation, epoch)
        if self.histogram_freq and epoch % self.histogram_freq == 0:
            self._write_histograms(epoch)
        for writer in self._writers.values():
            writer.flush()

    def on_train_end(self, logs: Logs = None) -> None:
        self.release()

    def release(self) -> None:
        """Close the files, also if training ends with an error or Ctrl-C."""
        self._training = False
        self._close()

    def on_test_end(self, logs: Logs = None) -> None:
        if self.model.optimizer is not None:
            names = {f"evaluation_{name}_vs_iterations": v for name, v in (logs or {}).items()}
            self._write("validation", names, self.model.optimizer.iterations)
        if not self._training:
            self._close()

    def _speed(self, what: str) -> dict[str, float]:
        """Return steps per second since the last call with this argument, if requested."""
        if not self.write_steps_per_second:
            return {}
        then, step = self._marks[what]
        now = time.perf_counter()
        self._marks[what] = now, self._step
        return {f"{what}_steps_per_second": (self._step - step) / max(now - then, 1e-9)}

    def _writer(self, run: str) -> Any:
        if run not in self._writers:
            self._writers[run] = open_writer(os.path.join(self.log_dir, run), "TensorBoard")
        return self._writers[run]

    def _close(self) -> None:
        for writer in self._writers.values():
            writer.close()
        self._writers = {}

    def _write(self, run: str, figures: dict[str, Any], step: int) -> None:
        writer = self._writer(run)
        for name, value in figures.items():
            writer.add_scalar(name, float(value), int(step))

    def _write_histograms(self, epoch: int) -> None:
        outputs = self.model.last_activations()
        weights = {weight.path: weight for layer in self.model.layers for weight in layer.weights}
        values = {
            **{f"{path}/histogram": weight.numpy() for path, weight in weights.items()},
            **{f"{path}/gradient": array for path, array in self.model.gradients().items()},
            **{f"{name}/activations": array for name, array in outputs.items()},
        }
        writer = self._writer("train")
        for tag, array in values.items():
            finite = array[np.isfinite(array)]
            if finite.size:
                writer.add_histogram(tag, finite, epoch)
        if self.write_images:
            for path, weight in weights.items():
                for i, image in enumerate(_images(weight.numpy())):
                    tag = f"{path}/image" + (f"/{i}" if i else "")
                    writer.add_image(tag, image, epoch, dataformats="HW")


def open_writer(log_dir: str | os.PathLike[str], callback: str) -> Any:
    """Return a writer of event files in a folder; ``callback`` is the name for errors."""
    found = extra("tensorboardX", f"callbacks.{callback} needs tensorboardX", "tensorboard")
    return found.SummaryWriter(log_dir)


def _images(weight: np.ndarray) -> list[np.ndarray]:
    """Return grey images (height, width) of a weight: a row for a vector, one image per filter."""
    weight = np.nan_to_num(np.squeeze(weight).astype(np.float64))
    spread = np.ptp(weight) if weight.size else 0.0
    scaled: np.ndarray = 255 * (weight - weight.min()) / spread if spread else 0 * weight
    grey = scaled.astype(np.uint8)
    if grey.ndim < 2:
        return [grey.reshape(1, -1)]
    if grey.ndim == 2:
        return [grey.T if grey.shape[0] > grey.shape[1] else grey]
    return list(np.moveaxis(grey.reshape(*grey.shape[:2], -1), -1, 0))


def _batches(model: Any) -> int:
    """Return the number of a model's training batches so far."""
    of = getattr(model, "_training", None)  # whose class may define steps
    return (model._trainer if of is None else of.progress).batches


def _model_summary(model: Any) -> Any:
    """Return the model's configuration as the summary from which TensorBoard draws its layers."""
    from tensorboardX.proto.summary_pb2 import Summary, SummaryMetadata
    from tensorboardX.proto.tensor_pb2 import TensorProto

    config = {"class_name": type(model).__name__, "config": model.get_config()}
    plugin = SummaryMetadata.PluginData(plugin_name="graph_keras_model", content=b"1")
    text = TensorProto(dtype="DT_STRING", string_val=[json.dumps(config).encode()])
    metadata = SummaryMetadata(plugin_data=plugin)
    return Summary(value=[Summary.Value(tag="keras", tensor=text, metadata=metadata)])
