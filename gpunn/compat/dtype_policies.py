"""`keras.mixed_precision` and `keras.dtype_policies`: policies of dtypes, float32 and float64."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gpunn.common.config import floatx, resolve_dtype, set_floatx
from gpunn.common.importing.lazy import offer

from .loss_scaling import LossScaleOptimizer

__all__ = [
    "DTypePolicy", "FloatDTypePolicy", "LossScaleOptimizer", "Policy", "deserialize",
    "dtype_policy", "get", "global_policy", "serialize", "set_dtype_policy", "set_global_policy",
]  # fmt: skip

offer(__name__)

MIXED = "mixed_float16", "mixed_bfloat16"


class DTypePolicy:
    """The dtype of a layer's computation and weights, as Keras describes it.

    Args:
        name: ``"float32"`` or ``"float64"``; by default `gpunn.config.floatx`.

    Raises:
        ValueError: for any other, such as ``"mixed_float16"``.

    >>> import gpunn
    >>> policy = gpunn.layers.Dense(2).dtype_policy
    >>> policy, policy.compute_dtype
    (<DTypePolicy "float32">, 'float32')
    """

    quantization_mode = None

    def __init__(self, name: Any = None) -> None:
        if name in MIXED:
            raise ValueError(
                f"gpunn has no half precision by policies ({name!r}): it computes in float32 or "
                f"float64. compile(matmul_precision='tf32') rounds factors of products on a GPU."
            )
        self.name = resolve_dtype(name)

    @property
    def compute_dtype(self) -> str:
        """The dtype of computation."""
        return self.name

    @property
    def variable_dtype(self) -> str:
        """The dtype of weights."""
        return self.name

    def get_config(self) -> dict[str, Any]:
        """Return the argument that creates an equal policy."""
        return {"name": self.name}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> DTypePolicy:
        """Create a policy from what `get_config` returned."""
        return cls(**config)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DTypePolicy) and self.name == other.name

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return f'<DTypePolicy "{self.name}">'


FloatDTypePolicy = Policy = DTypePolicy


def dtype_policy() -> DTypePolicy:
    """Return the policy of layers without a dtype of their own: `gpunn.config.floatx`."""
    return DTypePolicy(floatx())


def set_dtype_policy(policy: Any) -> None:
    """Set the dtype of layers, and of all other floats: `gpunn.config.set_floatx`.

    Args:
        policy: A policy or its name.
    """
    set_floatx(get(policy).name)


def get(identifier: Any) -> DTypePolicy:
    """Return a policy by its name, its description, or itself."""
    if isinstance(identifier, Mapping) and isinstance(identifier.get("config"), Mapping):
        identifier = identifier["config"].get("name")
    return identifier if isinstance(identifier, DTypePolicy) else DTypePolicy(identifier)


def serialize(dtype_policy: DTypePolicy) -> dict[str, Any]:
    """Return a policy's description, as Keras's."""
    return {
        "module": "keras", "class_name": "DTypePolicy", "config": dtype_policy.get_config(),
        "registered_name": None,
    }  # fmt: skip


def deserialize(config: Mapping[str, Any], custom_objects: Any = None) -> DTypePolicy:
    """Return the policy that `serialize` described."""
    return get(config)


global_policy, set_global_policy = dtype_policy, set_dtype_policy
