"""Names of Keras 3 that gpunn does not have, and the messages that explain why.

`docs/reference/keras.md` is generated from this list. For other unknown names the error
suggests the closest known name.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import import_module
from typing import Any

from gpunn.common.importing.lazy import is_imported, told_to_imports

# By module: the names, and the reason and alternative.
ABSENT: dict[str, dict[str, str]] = {
    "layers": {
        "RandAugment AugMix": "mixtures of random changes; put layers such as RandomShear, "
        "RandomRotation, RandomColorJitter, RandomPosterization, Solarization and Equalization in "
        "a row",
        "RandomPerspective RandomElasticTransform": "projections and waves of pictures; "
        "RandomShear, RandomRotation, RandomZoom and RandomTranslation move their pixels",
        "Pipeline": "layer of that name; gpunn.Sequential applies layers in a row",
        "ContrastLimitedAdaptiveHistogramEqualization": "equalization in tiles; "
        "layers.Equalization and AutoContrast change whole pictures",
        "MaxNumBoundingBoxes": "boxes of objects in pictures; keep Keras for them, or use NumPy "
        "before fit",
        "MelSpectrogram STFTSpectrogram": "layers of spectrograms; in a call, or in a Lambda, use "
        "ops.stft",
        "TorchModuleWrapper JaxLayer FlaxLayer TFSMLayer": "layers of other frameworks inside its "
        "own; write the layer with gpunn.ops in a call",
    },
    "optimizers": {
        "MultiOptimizer OptimizerMap": "optimizers around others; in train_step, let an optimizer "
        "for each part of the weights apply the gradients of that part",
        "legacy": "optimizers of older kinds, nor has Keras 3; gpunn.optimizers.Adam and its like "
        "take learning_rate and the other arguments",
    },
    "callbacks": {
        "RemoteMonitor OrbaxCheckpoint": "such callback; CSVLogger, ModelCheckpoint and "
        "BackupAndRestore write files, and LambdaCallback calls a function",
    },
    "utils": {
        "model_to_dot": "graphs in Graphviz's language; plot_model draws a picture",
        "audio_dataset_from_directory": "loaders of sound; read the files into arrays, for "
        "example with the module wave",
        "ImageDataGenerator": "generators of pictures; utils.image_dataset_from_directory reads "
        "folders, and random layers such as RandomFlip and RandomRotation change pictures in the "
        "step",
        "Tokenizer text_to_word_sequence": "tokenizers, nor has Keras 3; layers.TextVectorization "
        "learns a vocabulary and makes codes of texts",
        "bounding_boxes": "boxes of objects in pictures; keep Keras for them, or use NumPy before "
        "fit",
        "Config": "configurations of that kind; a dictionary or a dataclass serves",
        "get_source_inputs": "way back from tensors; model.inputs has the inputs of a model",
        "legacy": "older forms of descriptions; gpunn.saving has today's functions",
        "smart_resize": "resizing under that name; gpunn.ops.image.resize and layers.Resizing do "
        "it",
    },
    "initializers": {
        "STFT STFTInitializer stft": "initializers of spectrograms; ops.stft computes them without "
        "weights",
    },
    "backend": {
        "set_epsilon": "other epsilon; losses and layers have arguments for theirs",
        "get_uid": "numbers of names; give layers a name",
    },
    "saving": {
        "KerasFileEditor": "editor of files; load_model, change the model, and save it",
    },
    "config": {
        "max_steps_per_epoch set_max_steps_per_epoch": "limit of steps for all fits; pass "
        "steps_per_epoch to fit",
        "enable_unsafe_deserialization": "unsafe files; loading never runs code, and "
        "custom_objects names your classes",
        "is_nnx_enabled": "modules of Flax; a layer of your own has a call",
        "set_backend": "other frameworks below; gpunn.use_backend chooses numpy, compiled or cupy",
        "set_epsilon": "other epsilon; losses and layers have arguments for theirs",
    },
    "dtype_policies": {
        "AWQDTypePolicy DTypePolicyMap GPTQDTypePolicy Int4DTypePolicy QuantizedDTypePolicy "
        "QuantizedFloat8DTypePolicy": "policies of few bits; keep Keras for this model",
    },
    "distribution": {
        "DeviceMesh TensorLayout distribute_tensor": "meshes of devices; "
        "gpunn.distribution.DataParallel trains over several processes, one for each GPU",
        "get_device_count list_devices": "lists of devices there; gpunn.device and gpunn doctor "
        "name them",
    },
    "datasets.reuters": {
        "get_label_names": "names of the topics; the file has numbers from 0 to 45",
    },
    "ops.image": {
        "scale_and_translate elastic_transform": "such operation on "
        "pictures; use gpunn.ops in a call, or prepare the arrays before fit",
    },
    "": {
        "applications": "models that are trained already; keep Keras for them",
        "Function": "graphs of tensors apart from models; Model(inputs, outputs) is called in the "
        "same way",
        "Quantizer quantizers": "weights of few bits; keep Keras for this model",
        "StatelessScope SymbolicScope": "such scopes; models and layers have stateless_call",
        "RematScope remat": "recomputation of activations; smaller batches with "
        "gradient_accumulation_steps of an optimizer take less memory",
        "distillation": "teachers of models; a loss of your own calls one",
        "export": "module for exports; model.export writes ONNX files",
        "legacy": "module of older names; load_model reads .h5 files",
        "tree": "functions of nested lists and dictionaries; the package optree has them",
        "visualization": "drawings of boxes in pictures; matplotlib makes them",
        "wrappers": "wrappers under that name; gpunn.sklearn has the estimators",
        "distribute": "strategies for several devices; gpunn.distribution.DataParallel trains "
        "over several processes, one for each GPU",
        "TensorSpec RaggedTensorSpec": "descriptions of tensors as TensorFlow has them; "
        "Dataset.from_generator takes output_types, such as (tf.int32, tf.float32), in place of "
        "output_signature",
    },
}


UNUSED = {"ImageDataGenerator", "Tokenizer"}  # many a program imports it, and does without


def advice_for(module: str, name: str) -> str | None:
    """Return the message for a name that Keras has in this module and gpunn leaves out."""
    return advice_in(ABSENT.get(module, {}), name)


def advice_in(entries: Mapping[str, str], name: str) -> str | None:
    """Return the message for a name among entries like those of a module in `ABSENT`."""
    for names, reason in entries.items():
        if name in names.split():
            return f"gpunn has no {reason}."
    return None


def advice_of(module: str, name: str) -> str | None:
    """Return the message for a name that a module, by its ``__name__``, leaves out."""
    short = module.removeprefix("gpunn.").replace("compat.", "")
    message = advice_for(short, name)
    return None if message is None else f"{short}.{name}: {message}"


MODULES = [
    "layers", "losses", "metrics", "optimizers", "callbacks", "activations", "initializers",
    "regularizers", "constraints", "models", "ops", "utils", "saving", "datasets", "backend",
]
"""Where names are that a program may expect at the top."""


def place_of(name: str, known: Sequence[str]) -> str:
    """Return a sentence about where a name is that is not at the top of gpunn, or about the name
    there, or in a module, that is spelt almost the same; or an empty string.

    Args:
        known: Names at the top.
    """
    from difflib import get_close_matches  # only for a message

    places = {one: f"{module}.{one}" for module in reversed(MODULES)
              for one in import_module(f"gpunn.{module}").__all__}
    if name in places:
        return f" It is gpunn.{places[name]}."
    spelt = {one.lower(): one for one in (*known, *places)}
    found = get_close_matches(name.lower(), spelt, n=1, cutoff=0.8)
    if not found:
        return ""
    one = spelt[found[0]]
    return f" Did you mean {f'gpunn.{places[one]}' if one in places else one!r}?"


def _refused(message: str, *args: Any, **kwargs: Any) -> None:
    raise NotImplementedError(message)


def unused(module: str, otherwise: Callable[[str], Any]) -> Callable[[str], Any]:
    """Return a ``__getattr__`` like ``otherwise`` for a module, by its ``__name__``, from which
    names that many a program imports without need can be imported."""

    def find(name: str) -> Any:
        message = advice_of(module, name) if name in UNUSED else None
        if message is not None and is_imported(sys._getframe(2)):
            return partial(_refused, message)
        return otherwise(name)

    return told_to_imports(module, find)


def table() -> str:
    """Return the rows of `docs/reference/keras.md`."""
    rows = ["| names | gpunn has no |", "| --- | --- |"]
    for module, entries in ABSENT.items():
        for names, reason in entries.items():
            path = f"{module}." if module else ""
            listed = ", ".join(f"`{path}{name}`" for name in names.split())
            rows.append(f"| {listed} | {reason} |")
    return "\n".join(rows) + "\n"
