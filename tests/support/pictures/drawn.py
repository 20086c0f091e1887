"""Digits as people draw and photograph them: a picture for each fault that one meets."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

WIDTH, HEIGHT = 600, 450


def stroke(kind: str, side: int, left: int, top: int, width: int) -> np.ndarray:
    """Return how much ink of a drawn digit each pixel of the page holds, from 0 to 1."""
    page = Image.new("L", (WIDTH, HEIGHT))
    points = {
        "7": [(0.15, 0.1), (0.8, 0.1), (0.4, 0.95)],
        "1": [(0.5, 0.0), (0.48, 1.0)],
        "4": [(0.6, 0.95), (0.62, 0.05), (0.1, 0.65), (0.85, 0.65)],
        "2": [(0.2, 0.2), (0.4, 0.05), (0.7, 0.1), (0.75, 0.3), (0.15, 0.95), (0.85, 0.95)],
    }[kind]
    line = [(left + x * side, top + y * side) for x, y in points]
    draw = ImageDraw.Draw(page)
    draw.line(line, fill=255, width=width, joint="curve")
    for x, y in line:
        draw.circle((x, y), width / 2, fill=255)
    return np.asarray(page) / 255


def mixed(ink: np.ndarray, paper: Any, colour: float, noise: float = 0) -> np.ndarray:
    values = paper * (1 - ink) + colour * ink
    values = values + np.random.default_rng(0).normal(0, noise or 1e-9, ink.shape)
    return values.clip(0, 255).round().astype(np.uint8)


def grey(side: int = 250, left: int = 170, top: int = 100, width: int = 28, **colours: Any) -> Any:
    given = {"paper": 255, "colour": 0, **colours}
    return lambda kind: Image.fromarray(mixed(stroke(kind, side, left, top, width), **given))


def coloured(paper: tuple[int, ...], ink: tuple[int, ...]) -> Any:
    def picture(kind: str) -> Image.Image:
        there = stroke(kind, 250, 170, 100, 28)
        planes = [mixed(there, *pair, noise=3) for pair in zip(paper, ink, strict=True)]
        return Image.fromarray(np.stack(planes, axis=-1))

    return picture


def transparent(level: int) -> Any:
    def picture(kind: str) -> Image.Image:
        pixels = np.full((HEIGHT, WIDTH, 4), level, np.uint8)
        pixels[..., 3] = (stroke(kind, 250, 170, 100, 28) * 255).astype(np.uint8)
        return Image.fromarray(pixels)

    return picture


def jpeg(kind: str) -> Image.Image:
    held = io.BytesIO()
    grey(paper=235, colour=40, noise=4)(kind).save(held, "jpeg", quality=40)
    return Image.open(io.BytesIO(held.getvalue()))


def specks(kind: str) -> Image.Image:
    pixels = np.array(grey(paper=245, colour=20, noise=3)(kind))
    random = np.random.default_rng(1)
    pixels[random.integers(0, HEIGHT, 8), random.integers(0, WIDTH, 8)] = 0
    return Image.fromarray(pixels)


down, across = np.mgrid[:HEIGHT, :WIDTH]
shadow = 110 + 90 * across / WIDTH + 30 * down / HEIGHT
dim = 85 + 30 * across / WIDTH
corners = 210 - 110 * np.hypot(across / WIDTH - 0.5, down / HEIGHT - 0.5)

PICTURES: dict[str, Callable[[str], Image.Image]] = {
    "dark on white": grey(),
    "white on black": grey(paper=0, colour=255),
    "off-centre": grey(side=150, left=430, top=10, width=18),
    "small": grey(side=50, left=30, top=370, width=6),
    "big": grey(side=400, left=90, top=20, width=50),
    "thin": grey(width=8),
    "pencil": grey(paper=230, colour=150, noise=3),
    "grey photograph": grey(paper=160, colour=50, noise=5),
    "photograph in a shadow": grey(paper=shadow, colour=30, noise=5),
    "dim photograph": grey(paper=dim, colour=20, noise=4),
    "darker corners": grey(paper=corners, colour=40, noise=4),
    "blue on cream": coloured((250, 244, 220), (30, 50, 170)),
    "chalk on green": coloured((40, 80, 60), (225, 230, 220)),
    "chalk on grey": grey(paper=140, colour=250, noise=4),
    "black on transparent": transparent(0),
    "white on transparent": transparent(255),
    "JPEG": jpeg,
    "specks": specks,
}
