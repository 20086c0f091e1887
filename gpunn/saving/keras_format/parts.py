"""Configurations of layers, losses, optimizers and other parts: Keras's from ours, and back.

Keras describes a part as ``{"module", "class_name", "config", "registered_name"}``, gpunn as
``{"class_name", "config"}``. The arguments have the same names, but for those listed here.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from contextvars import ContextVar
from importlib import import_module
from typing import Any

from gpunn.common import registry
from gpunn.common.config import floatx
from gpunn.common.names import snake_case
from gpunn.common.nested import replaced
from gpunn.common.overrides import is_framework, replaces
from gpunn.common.signatures import arguments, signature
from gpunn.common.snapshots import set_within
from gpunn.optimizers.optimizer import EXCLUDED

MODULES = {
    "layer": "keras.layers", "initializer": "keras.initializers", "loss": "keras.losses",
    "regularizer": "keras.regularizers", "constraint": "keras.constraints",
    "metric": "keras.metrics", "optimizer": "keras.optimizers",
    "schedule": "keras.optimizers.schedules", "activation": "keras.activations",
    "callback": "keras.callbacks",
}
"""Keras's modules by kind of part."""
KINDS = {module: kind for kind, module in MODULES.items()}
NOT_IN_KERAS = {
    "activation": "Gaussian Ramp Sign Step Threshold",  # Keras's has no defaults
    "layer": "DatetimeEncoder HashingVectorizer MissingIndicator SimpleImputer",
    "loss": "EuclideanDistance HalfSquaredError PerceptronCriterion",
    "metric": "ConfusionMatrix EuclideanDistance HalfSquaredError Huber PerceptronCriterion",
    "schedule": "Constant OneCycle",
}
"""Parts that Keras lacks."""
UNKNOWN_TO_KERAS = {
    "RMSNormalization": {
        "center", "scale", "beta_initializer", "gamma_initializer", "beta_regularizer",
        "gamma_regularizer", "beta_constraint", "gamma_constraint",
    },
    "Discretization": {"trainable"}, "Adam": {"lazy"}, "AdamW": {"lazy"},
    "Cropping1D": {"data_format"}, "UpSampling1D": {"data_format"},
    "SimpleRNN": {"implementation", "use_cudnn"}, "SimpleRNNCell": {"implementation"},
    "SpatialDropout1D": {"trainable"}, "SpatialDropout2D": {"trainable"},
    "SpatialDropout3D": {"trainable"},
    "StringLookup": {"fold"},
}
"""Arguments by class that Keras's class of this name lacks. They are left out at their default."""
IN_WEIGHTS = {"Normalization": {"adapted"}}
"""Entries of our configurations by class that only repeat weights, which the file holds anyway."""
SIZES = {"vocabulary_size"}
"""Entries of Keras's configurations that follow from others, or from files beside them."""
OF_CODES = {"HashedCrossing", "Hashing"}
"""Layers whose dtype in Keras is the dtype of their codes, if these are the output."""
_DTYPE: ContextVar[str | None] = ContextVar("_DTYPE", default=None)
MEANINGLESS: dict[str, tuple[Any, ...]] = {
    "oov_method": ("floormod", "farmhash"),  # of strings
    "renorm_momentum": (0.99,), "dtype": ("float32", "float64"), "sparse": (False,),
    "ragged": (False,), "optional": (False,), "dilation_rate": (1, [1, 1]), "autocast": (True,),
    "seed_generator": (None,), "zero_output_for_mask": (False,), "use_cudnn": ("auto",),
    "flash_attention": (None,), "implementation": (1, 2), "dtype_policy": ("float32",),
}
"""Values, besides None and False, with which an argument that gpunn lacks changes nothing."""


class UnknownInKerasError(ValueError):
    """A part that Keras lacks, or an option of one."""


def is_part(value: Any) -> bool:
    """Whether a value in a configuration describes a part, in gpunn's form or in Keras's."""
    return isinstance(value, dict) and {"class_name", "config"} <= value.keys()


def _graphs() -> Any:
    """Return the module of models, which builds on this one, for a model inside a part."""
    return import_module("gpunn.saving.keras_format.graphs")


# -- to Keras


def written_in(dtype: str) -> AbstractContextManager[None]:
    """A context in which layers are described that have no dtype of their own, in this one."""
    return set_within(_DTYPE, dtype)


def dtype_of(config: Mapping[str, Any]) -> str:
    """Return the dtype of a layer by its configuration, or its model's."""
    return config.get("dtype") or _DTYPE.get() or floatx()


def entry_of(module: str, name: str, config: Any, registered: str | None = None) -> dict[str, Any]:
    """Return a description as Keras writes it."""
    return {"module": module, "class_name": name, "config": config, "registered_name": registered}


def own_entry(cls: type, config: Any) -> dict[str, Any]:
    """Return the description of a part of a user's class."""
    registered = vars(cls).get("_registered_name", cls.__name__)
    return entry_of(cls.__module__, cls.__name__, config, registered)


def to_keras(entry: Mapping[str, Any], kind: str) -> Any:
    """Return Keras's description of a part from `registry.serialize`'s, or raise a ValueError
    that names the part or argument that Keras does not have."""
    if kind == "model":
        return _graphs().model_to_keras(entry) | further_entries(entry)
    name, config = entry["class_name"], entry["config"]
    cls = registry.lookup(kind, name)
    if is_framework(cls) and name in NOT_IN_KERAS.get(kind, "").split():
        raise UnknownInKerasError(f"Keras has no {kind} {name!r}: save the model as .gpunn.")
    if getattr(cls, "_made_from_functions", False) and kind != "layer":
        return _of_function(kind, cls, config)
    if kind == "activation":
        return _activation(name, cls, config)
    config = {
        key: described(value, argument=key)
        for key, value in config.items()
        if not _is_omitted(name, cls, key, config)
    }
    if kind == "layer":
        own = dtype_of(config)
        codes = name in OF_CODES and config.get("output_mode") == "int"
        config["dtype"] = "int64" if codes else own
    if is_framework(cls):
        made = entry_of(MODULES[kind], cls.__name__, config)
    else:
        made = own_entry(cls, config)
    return made | further_entries(entry)


def further_entries(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries that say that others describe the same layer, and what a user's class is
    built from: they are Keras's too."""
    return {key: entry[key] for key in (registry.SHARED_ID, registry.BUILD) if key in entry}


def _is_omitted(name: str, cls: type, key: str, config: Mapping[str, Any]) -> bool:
    """Return whether Keras's class lacks an argument, which then must have its default value."""
    if key == EXCLUDED or (is_framework(cls) and key in IN_WEIGHTS.get(name, ())):
        return True
    if key != "learning_rate_multiplier" and key not in UNKNOWN_TO_KERAS.get(name, ()):
        return False
    plain: Any = cls
    others = {one: other for one, other in config.items() if one != key}
    if config[key] != plain.from_config(others).get_config().get(key):
        raise UnknownInKerasError(
            f"Keras's {name} has no argument {key!r}, which is {config[key]!r} here: save the "
            f"model as .gpunn."
        )
    return True


def described(value: Any, kind: str = "", argument: str = "") -> Any:
    """Return a value in which parts, of a kind or of an argument's kind, are described as Keras
    does.

    >>> described(["mse", {"class_name": "Huber", "config": {}}], "loss")[1]["module"]
    'keras.losses'
    """

    def of_part(x: Any) -> Any:
        if not is_part(x) or "registered_name" in x:  # or it is in Keras's form already
            return x
        found = kind or x.get(registry.KIND) or registry.kind_of(argument, x["class_name"])
        if found == "activation" and not (kind or argument.endswith(("activation", "activations"))):
            return entry_of(MODULES[found], x["class_name"], x["config"])  # for a user's class
        return to_keras(x, found)

    return replaced(of_part, value, is_part)


def _of_function(kind: str, cls: Any, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the description of a user's function, by its plain name if it is not registered."""
    argument = cls.function_argument
    its = vars(registry.lookup(registry.FUNCTION, config[argument]))
    name = its.get("_registered_name") or config[argument].removeprefix("Custom>")
    function = entry_of("builtins", "function", name, "function")
    if cls.from_config({argument: config[argument]}).get_config() == config:
        return function
    if kind == "metric":
        return entry_of(MODULES[kind], cls.__name__, {**config, argument: function})
    raise UnknownInKerasError(
        f"Keras's files hold the {kind} {name!r} as a function without options, but it has "
        f"{dict(config)}: save the model as .gpunn."
    )


def _activation(name: str, cls: Any, config: Mapping[str, Any]) -> str:
    """Return the name of an activation function."""
    if not is_framework(cls):
        raise UnknownInKerasError(
            f"the activation {name!r} is your own: Keras's files hold names of functions only. "
            f"Save the model as .gpunn."
        )
    if dict(config) != cls().get_config():
        raise UnknownInKerasError(
            f"the activation {name!r} has options ({dict(config)}), which Keras stores in layers "
            f"only: put a layer with these options after it, or save the model as .gpunn."
        )
    return snake_case(name)


# -- from Keras


def complete_shared_numbers(document: Any) -> None:
    """Give each description of a shared layer its number: Keras leaves it out of the first one.

    The first one has the same class and configuration, and so the same name; of several, it is the
    last before the others. Each is compared once, whatever a file holds.
    """
    without = dict[Any, dict[str, Any]]()

    def visit(x: Any) -> None:
        if is_part(x) and isinstance(x["config"], dict):
            like = str(x["class_name"]), str(x["config"].get("name"))
            if registry.SHARED_ID not in x:
                without[like] = x
            elif (first := without.pop(like, None)) and _alike(first["config"], x["config"]):
                first.update(further_entries(x))
        for value in x.values() if isinstance(x, dict) else x if isinstance(x, list) else ():
            visit(value)

    visit(document)


def _alike(a: Any, b: Any) -> bool:
    """Whether values of JSON are equal but for numbers of shared parts in them."""
    if isinstance(a, dict) and isinstance(b, dict):
        keys = (a.keys() | b.keys()) - {registry.SHARED_ID}
        return all(k in a and k in b and _alike(a[k], b[k]) for k in keys)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_alike, a, b))
    return bool(a == b)


def from_keras(entry: Any, kind: str) -> Any:
    """Return the description for `registry.deserialize` of a part that Keras has described; names
    stay names. A ValueError names the class or argument that gpunn does not have."""
    if entry is None or isinstance(entry, str):
        return entry
    if not isinstance(entry, dict) or not isinstance(entry.get("class_name"), str):
        raise ValueError(
            f"a {kind} is described as {entry!r}; a name and a configuration expected."
        )
    name, config = entry["class_name"], entry.get("config")
    if name == "function" and isinstance(config, str):  # one that is registered or passed by name
        return config
    if not isinstance(config, dict):
        raise ValueError(f"the {kind} {name!r} has the configuration {config!r}.")
    cls = class_of(entry, kind)
    if name == "Lambda":  # a layer of the user's stands in for it
        config = without_code(config)
    # Not the name of the class: custom_objects may have another one for it.
    found = {"class_name": known_as(entry, kind), "config": arguments_of(cls, config)}
    return found | further_entries(entry)


def class_of(entry: Mapping[str, Any], kind: str) -> Any:
    """Return the class that Keras has described, or raise a ValueError that names it."""
    name = known_as(entry, kind)
    try:
        return registry.lookup(kind, name)
    except ValueError as error:
        if name == "Lambda":
            raise code_of_a_lambda(entry["config"].get("name", "lambda")) from None
        own = str(entry["class_name"]).rpartition(">")[2]
        hint = f" If it is your own, pass custom_objects={{{own!r}: {own}}}."
        raise ValueError(f"{error}{'' if 'custom_objects' in str(error) else hint}") from None


CODE = {
    "function", "function_type", "mask", "module", "output_shape", "output_shape_module",
    "output_shape_type",
}
"""Arguments of a `Lambda` that only its code needs."""


def without_code(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a `Lambda` without those that only its code needs."""
    return {key: x for key, x in config.items() if key not in CODE and x != {}}


def code_of_a_lambda(layer: Any) -> ValueError:
    """Return the error for a `Lambda` in a file: its code is not run."""
    return ValueError(
        f"the layer {layer!r} is a Lambda: the file holds its code, which gpunn does not run. "
        f"Write a layer with this call, and pass it as custom_objects={{'Lambda': YourLayer}}; "
        f"or build the model here, and use model.load_weights."
    )


def known_as(entry: Mapping[str, Any], kind: str) -> str:
    """Return the name under which a described class is registered here."""
    name, registered = entry["class_name"], entry.get("registered_name")
    if isinstance(registered, str) and registered in registry.entries(kind):
        return registered
    return str(name)


def arguments_of(cls: Any, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments for a class from Keras's configuration, or raise a ValueError for one
    that the class lacks, unless its value changes nothing."""
    if replaces(cls, "from_config"):  # which reads the rest in the form that the file has
        return {k: _policy(cls.__name__, x) if k == "dtype" else x for k, x in config.items()}
    known, found = {*arguments(cls)}, dict[str, Any]()
    takes_any = False
    if not is_framework(cls):
        known |= {"name", "trainable"}  # set later, see `registry.Entry.from_config`
        takes_any = any(p.kind is p.VAR_KEYWORD for p in signature(cls).parameters.values())
    for key, value in config.items():
        if key == "dtype":
            value = _policy(cls.__name__, value)
            codes = cls.__name__ in OF_CODES and value in ("int32", "int64")
            value = None if codes or value == floatx() else value
        if key in known:
            found[key] = _own_value(value, key)
        elif key in SIZES or value in (None, False, *MEANINGLESS.get(key, ())):
            continue
        elif takes_any:
            found[key] = _own_value(value, key)
        else:
            raise ValueError(f"{cls.__name__} has {key}={value!r}, which gpunn does not support.")
    return found


def _policy(name: str, value: Any) -> Any:
    """Return the dtype of a policy, which must not be half precision."""
    policy = value.get("config", {}).get("name") if isinstance(value, dict) else value
    if policy not in (None, "float32", "float64", "int32", "int64", "uint8", "bool", "string"):
        raise ValueError(f"{name} has the dtype {policy!r}; gpunn computes in float32 or float64.")
    return policy


def _own_value(value: Any, key: str) -> Any:
    def own(x: Any) -> Any:
        if not is_part(x):
            return x
        if x["class_name"] in ("__numpy__", "__tensor__"):
            return x["config"]["value"]
        if x["class_name"] == "Functional" or registry.is_model(known_as(x, "model")):
            return _graphs().layer_from_keras(x)
        if x["class_name"] == "function":
            return from_keras(x, "")
        kind = KINDS.get(str(x.get("module")))
        if kind is None:
            return from_keras(x, registry.kind_of(key, x["class_name"]))
        return registry.with_kind(from_keras(x, kind), key, kind)

    return replaced(own, value, is_part)
