"""The still parts of a drawn head: who it is, its skin, hair, ears and relief.

All lengths are in units of the distance between the pupils; x grows to the right of the picture,
y downwards, z towards the viewer; the origin lies between the eyes. Everything is drawn by the
code below from numbers: no photograph and no scanned mesh is involved.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float32]
Colour = tuple[int, int, int]

PX = 100  # sheet pixels per unit
LEFT, TOP = 1.7, 2.3  # distance of the origin from the sheet's left and upper edge
WIDTH, HEIGHT = 340, 480


@dataclass(frozen=True, slots=True)
class Look:
    """One drawn person. Sizes are factors around 1, colours are RGB 0-255."""

    skin: Colour
    hair: Colour
    iris: Colour
    lip: Colour
    style: str  # "short", "long", "bob", "bun", "buzz" or "curly"
    width: float = 1.0
    jaw: float = 1.0
    chin: float = 1.0
    eye: float = 1.0
    nose: float = 1.0
    lips: float = 1.0
    brow: float = 1.0
    arch: float = 1.0
    seed: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Sheet:
    """A head unrolled to a frontal picture, before any feature that can move.

    `rgb` is (H, W, 3) 0-255, `alpha` (H, W) 0-1, `relief` (H, W) z in units, `normals`
    (H, W, 3) unit vectors.
    """

    rgb: Array
    alpha: Array
    relief: Array
    normals: Array


@lru_cache(maxsize=1)
def grid() -> tuple[Array, Array]:
    """Return x and y in units of every sheet pixel, each (H, W)."""
    ys, xs = (g.astype(np.float32) for g in np.mgrid[0:HEIGHT, 0:WIDTH])
    return xs / PX - LEFT, ys / PX - TOP


def bump(x: Array, y: Array, cx: float, cy: float, sx: float, sy: float) -> Array:
    """Return a Gaussian hill of height 1 at (cx, cy) with spreads sx and sy."""
    hill = np.exp(-0.5 * (((x - cx) / sx) ** 2 + ((y - cy) / sy) ** 2))
    return np.asarray(hill, np.float32)


def smooth(points: ArrayLike, closed: bool = False, steps: int = 8) -> Array:
    """Return a Catmull-Rom curve through `points` (N, 2), `steps` points per piece."""
    p = np.asarray(points, np.float32)
    if closed:
        p = np.concatenate([p[-1:], p, p[:2]])
    else:
        p = np.concatenate([2 * p[:1] - p[1:2], p, 2 * p[-1:] - p[-2:-1]])
    t = np.linspace(0, 1, steps, endpoint=False, dtype=np.float32)[None, :, None]
    a, b, c, d = (p[i : len(p) - 3 + i, None] for i in range(4))
    curve = 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2)
    curve = curve + 0.5 * (3 * b - a - 3 * c + d) * t**3
    out: Array = curve.reshape(-1, 2).astype(np.float32)
    return out if closed else np.concatenate([out, p[-2:-1]])


def mask(points: ArrayLike, blur: float = 0.0, thick: float | None = None) -> Array:
    """Return the (H, W) 0-1 cover of a filled outline, or of a line `thick` units wide."""
    out = np.zeros((HEIGHT, WIDTH), np.uint8)
    cover(out, points, thick)
    soft = cv2.GaussianBlur(out, (0, 0), blur * PX) if blur else out
    return soft.astype(np.float32) / 255


def cover(
    out: NDArray[np.uint8],
    points: ArrayLike,
    thick: float | None = None,
    corner: tuple[int, int] = (0, 0),
) -> None:
    """Draw an outline or a line into `out`, whose upper left is sheet pixel `corner`."""
    p = (np.asarray(points, np.float32) + (LEFT, TOP)) * PX - np.asarray(corner)
    fixed = [np.round(p * 16).astype(np.int32)]
    if thick is None:
        cv2.fillPoly(out, fixed, (255,), cv2.LINE_AA, 4)
    else:
        width = max(1, round(thick * PX))
        cv2.polylines(out, fixed, False, (255,), width, cv2.LINE_AA, 4)


def blend(rgb: Array, weight: Array, colour: ArrayLike) -> None:
    """Mix `colour` into `rgb` in place by `weight` (H, W) 0-1."""
    rgb += (np.asarray(colour, np.float32) - rgb) * weight[..., None]


def ellipse(cx: float, cy: float, rx: float, ry: float) -> Array:
    """Return 40 points on an ellipse, (40, 2)."""
    t = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    ring = np.stack([cx + rx * np.cos(t), cy + ry * np.sin(t)], 1)
    return np.asarray(ring, np.float32)


def outline(look: Look) -> Array:
    """Return the closed outline of the face from crown to chin, (N, 2)."""
    w, j, c = 1.13 * look.width, look.jaw, look.chin
    half = [
        (0.42, -1.78),
        (0.86, -1.42),
        (w * 0.97, -0.85),
        (w, -0.2),
        (w * 0.97, 0.35),
        (w * 0.9 * j, 0.88),
        (0.72 * j, 1.33),
        (0.36 * c, 1.68),
    ]
    left = [(-x, y) for x, y in reversed(half)]
    return smooth([(0, -1.86), *half, (0, 1.77), *left], closed=True)


def noise(rng: np.random.Generator, *scales: float) -> Array:
    """Return smooth unit-variance noise (H, W): the sum of one layer per blur in pixels."""
    total = np.zeros((HEIGHT, WIDTH), np.float32)
    for scale in scales:
        layer = rng.standard_normal((HEIGHT, WIDTH)).astype(np.float32)
        layer = cv2.GaussianBlur(layer, (0, 0), scale)
        total += layer / layer.std()
    return np.asarray(total / np.sqrt(len(scales)), np.float32)


def _relief(look: Look) -> tuple[Array, Array]:
    """Return z for parallax (no steep rim) and z for shading (round rim), each (H, W)."""
    x, y = grid()
    n = look.nose
    features = 0.10 * bump(x, y, 0, 0.15, 0.11, 0.35) + 0.22 * bump(x, y, 0, 0.5, 0.12 * n, 0.2)
    features += 0.14 * bump(x, y, 0, 0.63, 0.13 * n, 0.09) + 0.10 * bump(x, y, 0, 1.12, 0.3, 0.13)
    features += 0.10 * bump(x, y, 0, 1.57, 0.24 * look.chin, 0.13)
    features -= 0.05 * bump(x, y, 0, 1.36, 0.25, 0.06) + 0.03 * bump(x, y, 0, 0.88, 0.05, 0.08)
    for s in (-1, 1):
        features += 0.09 * bump(x, y, s * 0.18 * n, 0.67, 0.08, 0.08)
        features -= 0.10 * bump(x, y, s * 0.47, -0.05, 0.24, 0.15)
        features += 0.06 * bump(x, y, s * 0.5, -0.36, 0.3, 0.09)
        features += 0.08 * bump(x, y, s * 0.66, 0.45, 0.26, 0.24)
    r2 = (x / (1.25 * look.width)) ** 2 + ((y + 0.05) / 2.05) ** 2
    flat = 1.0 * np.maximum(1 - r2, -0.4) + features
    lower = np.where(y > 0, 1.95, 2.1)
    edge = (np.abs(x) / (1.22 * look.width)) ** 2.4 + (np.abs(y) / lower) ** 2.4
    round_ = 1.1 * np.sqrt(np.clip(1 - edge, 0.03, 1)) + 0.85 * features
    return flat.astype(np.float32), cv2.GaussianBlur(round_.astype(np.float32), (0, 0), 2.5)


def _hair_outlines(look: Look) -> tuple[list[Array], list[Array]]:
    """Return outlines behind the face and outlines on top of it (the hairline stays clear)."""
    w = 1.13 * look.width
    top = 2.02 if look.style != "buzz" else 1.9
    side = {"buzz": 0.03, "short": 0.08, "bun": 0.06}.get(look.style, 0.16)
    crown = [(-w - side, -0.35), (-w - side, -1.05), (-0.8, -1.72), (0, -top)]
    crown += [(-x, y) for x, y in reversed(crown[:-1])]
    low = -0.3 if look.style in ("short", "buzz") else -0.1
    line = -1.2 if look.style != "buzz" else -1.32
    part = 0.35 if look.seed % 2 else -0.35
    fringe = [(w + 0.0, low), (w * 0.9, -0.75), (0.62, line + 0.08), (part, line - 0.16)]
    fringe += [(-0.55, line + 0.1), (-w * 0.9, -0.75), (-w, low)]
    front = [smooth([*crown, *fringe], closed=True)]
    back: list[Array] = []
    if look.style in ("long", "bob"):
        end = 2.3 if look.style == "long" else 1.05
        right = [(0, -2.0), (1.0, -1.65), (1.36, -0.8), (1.42, 0.3), (1.38, end), (0.9, end + 0.1)]
        back.append(smooth(right + [(-x, y) for x, y in reversed(right[1:])], closed=True))
    if look.style == "bun":
        back.append(ellipse(0.1, -2.0, 0.42, 0.28))
    if look.style == "curly":
        t = np.linspace(0.78 * np.pi, 2.22 * np.pi, 15)
        for i, (cx, cy) in enumerate(zip(1.15 * np.cos(t), -0.62 + 1.18 * np.sin(t), strict=True)):
            back.append(ellipse(cx, cy, 0.3 + 0.04 * (i % 2), 0.3))
    return back, front


def _paint_hair(rgb: Array, alpha: Array, outlines: list[Array], look: Look, dim: float) -> None:
    rng = np.random.default_rng([look.seed, 7])
    x, y = grid()
    strand = noise(rng, 1.0)
    angle = np.arctan2(y + 2.1, x) * 28
    strand = cv2.GaussianBlur(np.sin(angle + strand * 1.3), (0, 0), 0.8)
    gloss = bump(x, y, -0.35, -1.5, 0.5, 0.16) * 0.5
    shade = (dim * (1 + 0.15 * strand + gloss))[..., None]
    colour = np.clip(np.asarray(look.hair, np.float32) * shade + 6, 0, 255)
    for points in outlines:
        weight = mask(points, blur=0.015)
        rgb += (colour - rgb) * weight[..., None]
        np.maximum(alpha, weight, out=alpha)


def _paint_skin(rgb: Array, look: Look) -> None:
    """Colour the skin: fine texture, warmer cheeks and nose, darker sockets and nostrils."""
    x, y = grid()
    rng = np.random.default_rng([look.seed, 3])
    skin = np.asarray(look.skin, np.float32)
    rgb[:] = skin * (1 + 0.022 * noise(rng, 0.8, 2.5, 9.0))[..., None]
    warm = sum(bump(x, y, s * 0.62, 0.5, 0.25, 0.2) for s in (-1, 1))
    warm = 0.16 * np.asarray(warm, np.float32) + 0.10 * bump(x, y, 0, 0.62, 0.16, 0.12)
    blend(rgb, warm, skin * (1.06, 0.78, 0.74))
    for s in (-1, 1):
        blend(rgb, 0.30 * bump(x, y, s * 0.5, -0.12, 0.24, 0.09), skin * 0.72)
        blend(rgb, 0.16 * bump(x, y, s * 0.48, 0.16, 0.2, 0.05), skin * (0.72, 0.66, 0.68))
    _paint_nose(rgb, look)


def _paint_nose(rgb: Array, look: Look) -> None:
    n = look.nose
    dark = np.asarray(look.skin, np.float32) * (0.52, 0.42, 0.40)
    for s in (-1, 1):
        wing = smooth([(s * 0.17 * n, 0.58), (s * 0.235 * n, 0.66), (s * 0.19 * n, 0.765)])
        blend(rgb, 0.75 * mask(wing, 0.018, thick=0.035), dark)
        side = smooth([(s * 0.13, 0.02), (s * 0.10, 0.3), (s * 0.14 * n, 0.52)])
        blend(rgb, 0.22 * mask(side, 0.05, thick=0.06), dark)
        blend(rgb, 0.95 * mask(ellipse(s * 0.095 * n, 0.755, 0.06 * n, 0.03), 0.01), dark * 0.55)
    under = smooth(
        [(-0.19 * n, 0.77), (-0.09 * n, 0.79), (0, 0.81), (0.09 * n, 0.79), (0.19 * n, 0.77)]
    )
    blend(rgb, 0.55 * mask(under, 0.025, thick=0.03), dark)
    blend(rgb, 0.25 * mask([(0, 0.85), (0, 0.96)], 0.03, thick=0.05), dark)


@lru_cache(maxsize=16)
def sheet(look: Look) -> Sheet:
    """Return the still parts of a head; the same look always gives the same pixels."""
    rgb = np.zeros((HEIGHT, WIDTH, 3), np.float32) + np.asarray(look.hair, np.float32) * 0.6
    alpha = np.zeros((HEIGHT, WIDTH), np.float32)
    back, front = _hair_outlines(look)
    skin = np.empty_like(rgb)
    _paint_skin(skin, look)
    _paint_hair(rgb, alpha, back, look, 0.62)
    alpha *= 1 - mask([(-0.74, 0.6), (0.74, 0.6), (0.82, 2.5), (-0.82, 2.5)], 0.02)  # the neck
    for s in (-1, 1):
        ear = mask(ellipse(s * 1.16 * look.width, 0.16, 0.14, 0.3), 0.012)
        rgb += (skin * 0.9 - rgb) * ear[..., None]
        fold = mask(ellipse(s * 1.19 * look.width, 0.14, 0.06, 0.17), 0.03)
        blend(rgb, 0.4 * fold, np.asarray(look.skin) * 0.6)
        np.maximum(alpha, ear, out=alpha)
    face = mask(outline(look), 0.012)
    rgb += (skin - rgb) * face[..., None]
    np.maximum(alpha, face, out=alpha)
    _paint_hair(rgb, alpha, front, look, 0.95)
    relief, round_ = _relief(look)
    dy, dx = np.gradient(round_, 1 / PX)
    normals = np.stack([-dx, -dy, np.ones_like(dx)], -1)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    return Sheet(rgb, alpha, relief, normals.astype(np.float32))
