"""Operations on images: `gpunn.ops.image`, with Keras's names. Imported when first used."""

from gpunn.common.importing.lazy import offer

from .patches import extract_patches
from .resizing import resize
from .sampling import affine_transform

__all__ = ["affine_transform", "extract_patches", "resize"]
# Where doctest finds the examples of operations, which are defined in other modules.
__test__ = {name: globals()[name] for name in __all__}
offer(__name__)
