"""`Model.predict`, calls of a model on arrays, and the outputs of its layers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from gpunn.callbacks import CallbackList
from gpunn.core.plan import Plan
from gpunn.core.recording import active
from gpunn.core.workspace import run_once
from gpunn.feeding import data
from gpunn.feeding.arrays import check_finite
from gpunn.feeding.batches import PREDICT_BATCH, check_ends, fed, inputs_of, peek
from gpunn.feeding.inputs import inputs
from gpunn.feeding.rows import name_of
from gpunn.ops.conversion import tensor_of

from .fitting import rows_of_a_batch
from .predictor import Predictor
from .predictor import predict as predict_batches
from .training import Training, inputs_and_targets


def predict(model: Any, x: Any, size: int | None, steps: int | None, callbacks: Any) -> Any:
    """Predict with a model; see `gpunn.Model.predict`."""
    if active.watcher is not None:
        active.watcher.refuse("it calls model.predict, which reads weights: call model(x).")
    training: Training = model._training
    if x.__class__ is not np.ndarray:
        x = fed(x, None, None, size or PREDICT_BATCH)[0]
    callback_list = CallbackList(callbacks, model=model) if callbacks else None
    if x.__class__ is np.ndarray or data.is_array(x):
        predictor = training.predictor_for(x)
        spec = predictor.spec
        xs = inputs(spec, x)
        if predictor.plan.unknown:
            predictor = predictor.of(xs)
        if callback_list:  # check all batches before callbacks are notified of any
            for array, (argument, _) in zip(xs, spec.inputs, strict=True):
                check_finite(spec.backend, array, spec.dtype, argument)
        rows = xs[0].shape[0]
        most = predictor.batch if predictor.batch < rows else rows
        size = size or (most if steps is None else rows_of_a_batch(size, xs[0], steps, most))
        batches: Iterable[Any] = [(xs, "", 0)]
        if rows > size:
            starts = range(0, rows, size)[:steps]
            batches = (([a[at : at + size] for a in xs], "", at) for at in starts)
    else:
        check_ends(x, steps, "x", "steps")
        source, first = peek(x)
        predictor = training.predictor_for(inputs_and_targets(first)[0])
        batches = inputs_of(predictor.spec, source, steps)
    if not callback_list:
        return predict_batches(predictor.predict, batches, None, predictor.form)
    with callback_list.released_at_error():
        return predict_batches(predictor.predict, batches, callback_list, predictor.form)


def predict_on_batch(training: Training, x: Any) -> Any:
    """See `gpunn.Model.predict_on_batch`."""
    if active.watcher is not None:
        active.watcher.refuse("it calls model.predict_on_batch: call model(x).")
    predictor = training.predictor_for(x)
    outputs = predictor.predict(inputs(predictor.spec, x))
    return outputs[0] if predictor.form.kind is None else predictor.form.pack(outputs)


def run(training: Training, x: Any, in_training: bool | None) -> Any:
    """Run a model on one batch of arrays; see `gpunn.Model.__call__`."""
    predictor = training.predictor_for(x)
    plan = predictor.plan_for(in_training)
    trains = in_training is not False and plan is not None
    counts = predictor.may_draw and bool(training.layer_metrics())  # `predict` does not
    masked = any(number is not None for number in predictor.plan.masks)
    if not (trains or counts or masked):
        added: list[np.ndarray] = []
        outputs = predictor.predict(inputs(predictor.spec, x), added=added)
        training.added = added
        return predictor.form.pack(list(map(tensor_of, outputs)))
    predictor, xs = on_device(predictor, x)
    number = next(training.calls) if trains or predictor.may_draw else 0
    used = plan if trains and plan is not None else predictor.plan
    bound = used, predictor.spec.backend, predictor.spec.dtype, xs
    outputs, training.added, masks = predictor.storage.access.read(
        lambda: run_once(*bound, trains, number, training.progress.seed, assigns=trains)
    )
    tensors = list(map(tensor_of, outputs))
    for tensor, mask in zip(tensors, masks, strict=False):
        tensor._keras_mask = None if mask is None else tensor_of(mask)
    return predictor.form.pack(tensors)


def run_with(
    training: Training, model: Any, x: Any, in_training: bool | None, options: Mapping[str, Any]
) -> Any:
    """Run a model on one batch of arrays, with further arguments of its `call`."""
    from gpunn.ops.library.derivatives import as_tensors, at_once  # which `fit` does not need

    backend = training.predictor_for(x).storage.backend  # the model is built then
    return at_once(lambda: model(as_tensors(x), training=in_training, **options), backend)


def run_in_trace(
    training: Training, model: Any, x: Any, in_training: bool | None, options: Mapping[str, Any]
) -> Any:
    """Run a model on one batch of arrays as inside a tape, where it draws as a function
    does."""
    from gpunn.ops.library.derivatives import as_tensors  # which `fit` and `predict` do not need
    from gpunn.ops.running.tape_trace import in_trace

    training.predictor_for(x)  # the model is built then
    y, losses = in_trace(lambda: model(as_tensors(x), training=in_training, **options))
    training.added = [np.asarray(loss).reshape(1) for loss in losses]
    return y


def on_device(predictor: Predictor, x: Any) -> tuple[Predictor, list[Any]]:
    """Return the predictor for a batch of inputs, and their arrays on the device."""
    rows = data.to_rows(predictor.spec, x, needs_y=False)
    xs = [rows.arrays[name_of("x", k)] for k in range(len(predictor.spec.inputs))]
    return (predictor.of(xs) if predictor.plan.unknown else predictor), xs


def activations(training: Training, x: Any) -> dict[str, np.ndarray]:
    """See `gpunn.Model.activations`."""
    predictor, xs = on_device(training.predictor_for(x), x)
    return dict(zip(_call_names(predictor.plan), predictor.activations(xs), strict=True))


def last_activations(training: Training) -> dict[str, np.ndarray]:
    """See `gpunn.Model.last_activations`."""
    trainer = training.trainer
    batch = trainer.last_batch if trainer else None
    training.keep_outputs()
    if trainer is None or batch is None:
        return {}
    outputs: dict[str, np.ndarray] = {}
    names = _call_names(batch.workspace.plan)
    for name, call in zip(names, batch.workspace.calls, strict=True):
        if not call.backend.is_written(call.y):
            continue
        output = trainer.spec.backend.read(call.y)
        if call.activation is not getattr(call.layer, "activation", None):
            output = call.layer.activation(output).numpy()  # the loss took the logits
        outputs[name] = output
    return outputs


def _call_names(plan: Plan) -> list[str]:
    """Return a name for each node of a plan."""
    counts: dict[str, int] = {}
    names = []
    for node in plan.nodes:
        number = counts[node.name] = counts.get(node.name, -1) + 1
        names.append(f"{node.name}:{number}" if number else node.name)
    return names
