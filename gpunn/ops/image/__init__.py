"""Operations on images: `gpunn.ops.image`, with Keras's names. Imported when first used."""

from gpunn.common.importing.lazy import offer

from .filters import gaussian_blur, hsv_to_rgb, rgb_to_grayscale, rgb_to_hsv, sobel_edges, ssim
from .framing import crop_images, extract_patches, extract_patches_3d, pad_images, resize
from .sampling import affine_transform, map_coordinates, perspective_transform

__all__ = [
    "affine_transform", "crop_images", "extract_patches", "extract_patches_3d", "gaussian_blur",
    "hsv_to_rgb", "map_coordinates", "pad_images", "perspective_transform", "resize",
    "rgb_to_grayscale", "rgb_to_hsv", "sobel_edges", "ssim",
]
# Where doctest finds the examples of operations, which are defined in other modules.
__test__ = {name: globals()[name] for name in __all__}
offer(__name__)
