"""Run programs, each in its own process, and record the outcomes.

It imports a framework once, and then forks a copy of itself for each line of its input: a request
as JSON, for a program with its imports replaced. It answers with the copy's status. The outcome is
a file: the first error with its line, and the results of training: the losses of every `fit`, the
shapes of every `predict`.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import importlib.util
import inspect
import itertools
import json
import linecache
import math
import os
import random
import resource
import runpy
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.programs import generated_data

EPOCHS = 2
STEPS = 8  # of data whose length is unknown
EVENTS = 200

Event = dict[str, Any]


def numbers(value: Any) -> Any:
    """Convert numbers to JSON values."""
    if isinstance(value, dict):
        return {str(name): numbers(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [numbers(part) for part in value]
    try:
        return float(value)
    except (TypeError, ValueError):
        return str(value)


def shapes(value: Any) -> Any:
    """Return the shapes of arrays, in their structure."""
    if isinstance(value, dict):
        return {str(name): shapes(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [shapes(part) for part in value]
    return [int(length) for length in np.shape(value)]


class Watched:
    """The trainer's methods, on less data, with a record of their results."""

    def __init__(self, model: Any, compared: bool) -> None:
        self.events: list[Event] = []
        self.compared = compared
        self.seen: list[Any] = []  # layers whose weights have been set, kept alive
        self.depth = 0
        for name in ("fit", "evaluate", "predict", "train_on_batch"):
            setattr(model, name, self.watched(name, getattr(model, name)))
        if compared:
            for name in ("set_weights", "load_weights"):
                setattr(model, name, self.settled(getattr(model, name)))
            save = model.save_weights

            def saved(self_: Any, *args: Any, **kwargs: Any) -> Any:
                self.settle(self_, None)
                return save(self_, *args, **kwargs)

            model.save_weights = saved

    def stepping(self, keras: Any) -> None:
        """Note the norms of the gradients that the program applies itself. The first time that
        variables are updated, they get values that depend only on their shapes instead."""
        array, optimizer = keras.ops.convert_to_numpy, keras.optimizers.Optimizer
        method = optimizer.apply_gradients

        @functools.wraps(method)
        def call(self_: Any, grads_and_vars: Any, *args: Any, **kwargs: Any) -> Any:
            if self.depth:
                return method(self_, grads_and_vars, *args, **kwargs)
            pairs = list(grads_and_vars)
            new = [v for _, v in pairs if not any(v is other for other in self.seen)]
            for v in new:
                v.assign(same(array(v), len(self.seen), 0))
                self.seen.append(v)
            if new:
                return None
            norms = [0.0 if g is None else np.linalg.norm(array(g)) for g, _ in pairs]
            if len(self.events) < EVENTS:
                self.events.append({"apply_gradients": numbers(norms)})
            return method(self_, pairs, *args, **kwargs)

        optimizer.apply_gradients = call

    def loading(self, module: Any) -> None:
        """Let a loaded model keep its weights."""
        load = module.load_model

        @functools.wraps(load)
        def call(*args: Any, **kwargs: Any) -> Any:
            found = load(*args, **kwargs)
            self.seen += flat(found)
            return found

        module.load_model = call

    def watched(self, name: str, method: Any) -> Any:
        signature = inspect.signature(method)

        @functools.wraps(method)
        def call(model: Any, *args: Any, **kwargs: Any) -> Any:
            if self.depth:
                return method(model, *args, **kwargs)
            try:
                given = signature.bind(model, *args, **kwargs)
            except TypeError:
                return method(model, *args, **kwargs)  # which raises a better error
            self.depth += 1
            asked = given.arguments.get("epochs", 1)
            try:
                self.lessen(name, given.arguments)
                if self.compared:
                    self.settle(model, given.arguments.get("x"))
                found = method(*given.args, **given.kwargs)
            finally:
                self.depth -= 1
            self.note(name, found)
            if name == "fit" and len(found.epoch) == EPOCHS < asked:
                lengthened(found, asked)
            return found

        return call

    def settled(self, method: Any) -> Any:
        @functools.wraps(method)
        def call(model: Any, *args: Any, **kwargs: Any) -> Any:
            found = method(model, *args, **kwargs)
            self.seen += flat(model)
            return found

        return call

    def note(self, name: str, found: Any) -> None:
        if len(self.events) < EVENTS:
            given = (
                numbers(found.history)
                if name == "fit"
                else shapes(found)
                if name == "predict"
                else numbers(found)
            )
            self.events.append({name: given})

    def lessen(self, name: str, given: dict[str, Any]) -> None:
        """Reduce rows, epochs and steps; `predict` keeps its rows, as the program may need them."""
        if name == "fit":
            start = given.get("initial_epoch", 0)
            given["epochs"] = min(given.get("epochs", 1), start + EPOCHS)
            if self.compared:
                given["shuffle"] = False
        if name not in ("fit", "evaluate"):
            return
        for part in ("x", "y", "sample_weight", "validation_data"):
            if given.get(part) is not None:
                given[part] = part_of(given[part])
        for part in ("steps_per_epoch", "steps", "validation_steps"):
            if given.get(part):
                given[part] = min(int(given[part]), STEPS)

    def settle(self, model: Any, x: Any) -> None:
        """Give new layers weights that depend only on their shapes."""
        if hasattr(x, "prefetch"):  # a dataset of batches
            first = next(iter(x.take(1)), None)
            x = first[0] if isinstance(first, tuple) else first
        built = getattr(model, "built", True)
        if hasattr(x, "shape") and not (built and model.weights):
            if not built:
                model.build((None, *x.shape[1:]))
            if type(model).__name__ != "Sequential":
                model(x[:1])  # here Keras creates the weights of nested layers
        for number, layer in enumerate(flat(model)):
            if any(layer is other for other in self.seen):
                continue
            self.seen.append(layer)
            layer.set_weights([same(w, number, k) for k, w in enumerate(layer.get_weights())])


def lengthened(history: Any, epochs: int) -> None:
    """Repeat the last entry for the requested number of epochs, since the program may plot them."""
    more = epochs - len(history.epoch)
    history.epoch += range(len(history.epoch), epochs)
    for values in history.history.values():
        values += values[-1:] * more


def part_of(data: Any) -> Any:
    if inspect.isgenerator(data):
        return data
    if hasattr(data, "take") and hasattr(data, "prefetch"):
        return data.take(STEPS)
    return generated_data.fewer(data)


def flat(model: Any) -> list[Any]:
    """Yield the layers of a model, including those of nested models."""
    found = []
    for layer in getattr(model, "layers", []):
        found += flat(layer) if getattr(layer, "layers", None) else [layer]
    return found


def same(weight: Any, number: int, place: int) -> Any:
    """Return a weight with the same values in every framework; one of equal values, such as a bias
    of zeros, stays."""
    weight = np.asarray(weight)
    alone = weight.size == 1 and weight.item() not in (0, 1)
    if weight.dtype.kind != "f" or not (alone or (weight.size > 1 and np.ptp(weight) > 0)):
        return weight
    draw = np.random.default_rng([number, place, *weight.shape])
    edge = math.sqrt(6 / (math.prod(weight.shape[:-1]) + (weight.shape or (1,))[-1]))
    return draw.uniform(-edge, edge, weight.shape).astype(weight.dtype)


def without_noise(layers: Any) -> None:
    """Remove randomness from training, so that two frameworks compute the same."""
    for name in ("Dropout", "SpatialDropout2D", "AlphaDropout", "GaussianDropout", "GaussianNoise"):
        layer = getattr(layers, name, None)
        if layer is None:
            continue

        def zero(self: Any, *args: Any, _start: Any = layer.__init__, **kwargs: Any) -> None:
            kwargs = {k: v for k, v in kwargs.items() if k not in ("rate", "stddev")}
            _start(self, 0.0, *args[1:], **kwargs)

        layer.__init__ = zero


def without_order(framework: Any) -> None:
    """Leave samples of ``tf.data`` in their order."""
    data = getattr(sys.modules.get("tensorflow", framework), "data", None)
    if data is not None:
        data.Dataset.shuffle = lambda self, *args, **kwargs: self


def without_chance(framework: Any) -> None:
    """Let functions that draw return the same values each time, and in every framework; compute
    functions under `tf.function` line by line, so that their gradients can be noted."""
    tensorflow = sys.modules.get("tensorflow")
    name = f"{framework.__name__}.tensorflow"  # Keras on PyTorch has none
    beside = importlib.import_module(name) if importlib.util.find_spec(name) else framework
    place = tensorflow or beside

    def made(drawn: Any) -> Any:
        return framework.ops.convert_to_tensor(drawn, framework.config.floatx())

    def normal(shape: Any, mean: Any = 0.0, stddev: Any = 1.0, *args: Any, **kwargs: Any) -> Any:
        lengths = [int(n) for n in shape]
        drawn = np.random.default_rng([7, *lengths]).normal(size=lengths) * stddev + mean
        return made(drawn)

    def uniform(shape: Any, minval: Any = 0.0, maxval: Any = 1.0, *a: Any, **k: Any) -> Any:
        lengths = [int(n) for n in shape]
        return made(np.random.default_rng([8, *lengths]).uniform(minval, maxval, lengths))

    def gamma(shape: Any, alpha: Any, *args: Any, **kwargs: Any) -> Any:
        lengths = [*(int(n) for n in shape), *np.shape(alpha)]
        return made(np.random.default_rng([9, *lengths]).gamma(alpha, size=lengths))

    (tensorflow or framework).random.normal = normal
    place.random.gamma, framework.random.uniform = gamma, uniform
    if tensorflow is not None:
        tensorflow.config.run_functions_eagerly(True)


def without_rounding(keras: Any) -> None:
    """Compute everything in float64. Keras on TensorFlow casts Python's numbers to float32
    first, so that Adam's 1 - 0.999 would be 1.3e-5 too small."""
    keras.config.set_floatx("float64")
    ops = getattr(getattr(keras, "src", None), "ops", None)
    if ops is not None:
        clipped_losses(keras)
        cast = ops.cast

        def exact(x: Any, dtype: Any) -> Any:
            number = isinstance(x, float)
            return keras.ops.convert_to_tensor(x, dtype) if number else cast(x, dtype)

        ops.cast = exact


def clipped_losses(keras: Any) -> None:
    """Let Keras on TensorFlow report cross-entropies of probabilities clipped to [1e-7, 1 - 1e-7],
    as on PyTorch: there it has the logits behind them. The gradients stay those of the logits."""
    nn = importlib.import_module(f"keras.src.backend.{keras.backend.backend()}.nn")
    ops = keras.ops
    for name in ("categorical_crossentropy", "sparse_categorical_crossentropy"):

        def clipped(target: Any, output: Any, *args: Any, _of: Any, **kwargs: Any) -> Any:
            found = _of(target, output, *args, **kwargs)
            if args[:1] == (True,) or kwargs.get("from_logits"):
                return found
            value = ops.clip(found, -math.log(1 - 1e-7), -math.log(1e-7))
            return found + ops.stop_gradient(value - found)

        setattr(nn, name, functools.partial(clipped, _of=getattr(nn, name)))


def place_of(error: BaseException, program: str) -> tuple[int, str, str]:
    """Return the program's line that raised, its text, and the innermost location outside of it."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename == program]
    line = own[-1].lineno or 0 if own else getattr(error, "lineno", 0) or 0
    last = frames[-1] if frames else None
    inner = f"{Path(last.filename).name}:{last.lineno}" if last else ""
    return line, linecache.getline(program, line).strip(), inner


def started(framework: str) -> Any:
    """Import the framework, and other packages that programs import, if installed."""
    has_tensorflow = importlib.util.find_spec("tensorflow") is not None
    if framework == "keras":
        os.environ["KERAS_BACKEND"] = "tensorflow" if has_tensorflow else "torch"
    keras = importlib.import_module(framework)
    generated_data.quiet_pictures()
    generated_data.folders_of_pictures()
    generated_data.put_in_place(keras)
    if framework == "keras" and has_tensorflow:
        importlib.import_module("tensorflow.keras.utils")  # another module with the same contents
        generated_data.put_in_place(importlib.import_module("tensorflow").keras)
    return keras


def run(keras: Any, program: str, compared: bool, exact: bool) -> dict[str, Any]:
    """Run a program, which may change this process arbitrarily; return the outcome."""
    if exact:
        without_rounding(keras)
    watched = Watched(keras.Model, compared)
    if compared:
        for name in ("keras", "tensorflow", "gpunn"):
            found = sys.modules.get(name)
            if found is not None:
                watched.loading(getattr(found, "keras", found).models)
        text = Path(program).read_text(encoding="utf-8")
        if "GradientTape" in text:
            watched.stepping(keras)
        if "GradientTape" in text or "random.gamma" in text:
            without_chance(keras)
        without_noise(keras.layers)
        without_order(keras)
        keras.utils.set_random_seed(0)
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002  (the generator that the programs use)
    generated_data.notebook()
    sys.argv = [program]
    sys.path.insert(0, str(Path(program).parent))
    outcome: dict[str, Any] = {"error": None}
    try:
        runpy.run_path(program, run_name="__main__")
    except SystemExit as ended:
        if ended.code not in (None, 0):
            outcome["error"] = {"type": "SystemExit", "message": str(ended.code), "line": 0}
    except BaseException as error:
        line, text, inner = place_of(error, program)
        message = next(itertools.chain(filter(None, map(str.strip, str(error).split("\n"))), [""]))
        outcome["error"] = {
            "type": type(error).__name__, "message": message[:300], "line": line, "text": text,
            "inner": inner,
        }  # fmt: skip
    outcome["events"] = watched.events
    return outcome


def copy_of_this(keras: Any, asked: dict[str, Any]) -> None:
    """Run one program in the copy, within its time limit."""
    program = Path(asked["program"])
    os.chdir(program.parent)
    os.environ["HOME"] = str(program.parent)
    output = os.open("output.txt", os.O_WRONLY | os.O_CREAT)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for old, new in ((0, nothing), (1, output), (2, output)):
        os.dup2(new, old)
    seconds = asked["seconds"]  # of CPU time; on a busy machine, many times that in real time
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))
    signal.alarm(10 * seconds)
    outcome = run(keras, str(program), asked["compared"], asked["exact"])
    Path(asked["outcome"]).write_text(json.dumps(outcome), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--with", dest="framework", default="gpunn", choices=("gpunn", "keras"))
    options = parser.parse_args()
    keras = started(options.framework)
    for line in sys.stdin:
        sys.stdout.flush()
        child = os.fork()
        if not child:
            try:
                copy_of_this(keras, json.loads(line))
            finally:
                os._exit(0)  # no clean-up of the parent's resources
        _, status = os.waitpid(child, 0)
        print(json.dumps({"status": os.waitstatus_to_exitcode(status)}), flush=True)


if __name__ == "__main__":
    main()
