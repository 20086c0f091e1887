"""Test the messages about patterns of axes, and patches that do not fit."""

from __future__ import annotations

from typing import Any

import pytest

from gpunn import ops

WRONG: list[tuple[Any, dict[str, int], str]] = [
    ("b (h w) c -> b h w c", {}, r"\(h w\) is an axis of 6, .* of h and w are unknown.* h=1"),
    ("b (h w) c -> b h w c", {"h": 4}, r"h=4 does not fit the axis \(h w\), which is 6"),
    ("b h c -> b c h", {"h": 5}, r"h=5 does not fit the axis \(h\), which is 6"),
    ("b h w c -> b (h w) c", {}, r"is of 4 axes, but the tensor has 3.*Write \(h w\)"),
    ("b h c -> b h d", {}, "has c 1 and 0 times"),
    ("b h c -> b h h c", {}, "has h 1 and 2 times"),
    ("b h c", {}, "has no '->'"),
    ("b (h c -> b h c", {}, "single parentheses"),
    (3, {}, "3 has no '->'"),
    ("b h c -> b c h", {"q": 3}, "has no axis q"),
]


@pytest.mark.parametrize(("pattern", "lengths", "said"), WRONG)
def test_a_wrong_pattern_says_what_is_wrong(
    pattern: Any, lengths: dict[str, int], said: str
) -> None:
    with pytest.raises(ValueError, match=f"rearrange: .*{said}"):
        ops.rearrange(ops.ones((2, 6, 4)), pattern, **lengths)


@pytest.mark.parametrize(
    ("size", "apart", "said"),
    [
        ((5, 2, 2), 1, r"\(5, 2, 2\) cells, \(1, 1, 1\) apart, .* volumes of 4 x 6 x 7"),
        (2, 6, r"\(2, 2, 2\) cells, \(6, 6, 6\) apart, .* volumes of 4 x 6 x 7"),
    ],
)
def test_a_patch_that_does_not_fit_is_named_as_given(size: Any, apart: int, said: str) -> None:
    volumes = ops.ones((1, 4, 6, 7, 1))
    with pytest.raises(ValueError, match=f"^image.extract_patches_3d: A patch of {said}"):
        ops.image.extract_patches_3d(volumes, size, dilation_rate=apart)
    with pytest.raises(ValueError, match=r"^image\.extract_patches_3d: padding must be"):
        ops.image.extract_patches_3d(volumes, size, padding="sam")
