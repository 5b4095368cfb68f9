"""A drawn face that moves by facial action units (FACS; Ekman, Friesen and Hager 2002).

`render` paints brows, eyes and mouth on the still head of `head.py`, pulls the skin along, lights
the relief, turns the head and puts it before a body and a wall. Units are those of `head.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import ArrayLike

from textualize.demo.head import (
    HEIGHT,
    LEFT,
    PX,
    TOP,
    WIDTH,
    Array,
    Look,
    blend,
    bump,
    cover,
    ellipse,
    grid,
    mask,
    sheet,
    smooth,
)
from textualize.demo.stage import (
    FRAME_HEIGHT,
    FRAME_WIDTH,
    Pixels,
    Pose,
    Scene,
    compose,
    project,
    room,
    shade,
)

ACTIONS = (1, 2, 4, 5, 6, 7, 9, 10, 12, 15, 17, 20, 25, 26, 43)
Actions = Mapping[int, float]  # action unit -> intensity 0-1; absent means 0


# Hills of skin movement: action -> (x, y, spread x, spread y, dx, dy); mirrored, x outwards.
_PULLS: dict[int, list[tuple[float, float, float, float, float, float]]] = {
    1: [(0.25, -0.6, 0.25, 0.3, 0.0, -0.08)],
    2: [(0.7, -0.6, 0.25, 0.3, 0.0, -0.08)],
    4: [(0.25, -0.5, 0.25, 0.3, -0.03, 0.07)],
    6: [(0.62, 0.4, 0.25, 0.2, 0.0, -0.09)],
    9: [(0.16, 0.66, 0.16, 0.16, 0.01, -0.09), (0.15, 0.1, 0.12, 0.15, -0.02, -0.03)],
    10: [(0.2, 0.75, 0.16, 0.14, 0.025, -0.07)],
    12: [(0.62, 0.62, 0.25, 0.25, 0.05, -0.09)],
    15: [(0.45, 1.3, 0.2, 0.2, 0.0, 0.06)],
    17: [(0.12, 1.52, 0.25, 0.16, 0.0, -0.07)],
    20: [(0.6, 1.15, 0.25, 0.3, 0.07, 0.02)],
}
JAW = 0.24  # how far the chin falls at AU26 = 1


class Paint:
    """A brush on one sheet: every stroke is clipped to its own rectangle for speed."""

    def __init__(self, rgb: Array) -> None:
        """Paint on `rgb` (H, W, 3) in place."""
        self.rgb = rgb

    def __call__(
        self,
        points: ArrayLike,
        colour: ArrayLike,
        alpha: float = 1.0,
        blur: float = 0.008,
        thick: float | None = None,
        clip: Array | None = None,
    ) -> None:
        """Fill an outline, or draw a line `thick` units wide, with edges `blur` units soft."""
        if alpha <= 0.01:
            return
        p = np.asarray(points, np.float32)
        pad = 3 * blur + (thick or 0) + 0.03
        low = np.floor((p.min(0) - pad + (LEFT, TOP)) * PX).astype(int)
        high = np.ceil((p.max(0) + pad + (LEFT, TOP)) * PX).astype(int)
        x0, y0 = np.maximum(low, 0)
        x1, y1 = np.minimum(high, (WIDTH, HEIGHT))
        if x1 <= x0 or y1 <= y0:
            return
        spot = np.zeros((y1 - y0, x1 - x0), np.uint8)
        cover(spot, p, thick, (int(x0), int(y0)))
        soft = cv2.GaussianBlur(spot, (0, 0), blur * PX) if blur else spot
        weight = soft.astype(np.float32) * np.float32(min(alpha, 1.0) / 255)
        if clip is not None:
            weight *= clip[y0:y1, x0:x1]
        blend(self.rgb[y0:y1, x0:x1], weight, colour)


def _brows(paint: Paint, look: Look, au: dict[int, float]) -> None:
    """Draw both brows: AU1 lifts the inner end, AU2 the outer, AU4 lowers and draws together."""
    colour = np.asarray(look.hair, np.float32) * 0.42
    rng = np.random.default_rng([look.seed, 11])
    along = np.linspace(0, 1, 9)
    inner = 0.5 + 0.5 * np.cos(np.pi * np.clip(along / 0.75, 0, 1))
    outer = 0.5 - 0.5 * np.cos(np.pi * np.clip(along / 0.8, 0, 1))
    lift = 0.18 * au[1] * inner + 0.17 * au[2] * outer
    held = 1 - au[1] * (0.4 + 0.6 * inner)  # AU1 wins over AU4, most at the inner end
    fall = 0.13 * au[4] * (0.6 + 0.4 * inner) * held + 0.05 * au[9] * inner
    x = 0.225 + 0.63 * along - 0.09 * au[4] * (0.25 + 0.75 * inner)
    arch = 0.13 * look.arch * np.sin(np.pi * np.clip(along * 0.85 + 0.05, 0, 1))
    y = -0.33 - arch - lift + fall
    wide = look.brow * np.interp(along, [0, 0.25, 0.7, 1], [0.045, 0.06, 0.048, 0.012])
    hairs = [(rng.uniform(0.02, 0.93), rng.uniform(-0.8, 0.5)) for _ in range(34)]
    for s in (-1.0, 1.0):
        mid = smooth(np.stack([s * x, y], 1))
        thick = np.interp(np.linspace(0, 1, len(mid)), along, wide)[:, None] * (0, 1)
        paint(np.concatenate([mid - thick, (mid + thick)[::-1]]), colour, 0.88, 0.012)
        for t, offset in hairs:
            i = int(t * (len(mid) - 1))
            root = mid[i] + (0, 0.9 * offset * thick[i, 1])
            tip = root + (s * (0.05 + 0.03 * t), -0.05 * (1 - t))
            paint([root, tip], colour * 0.6, 0.5, 0.0, thick=0.01)


def _lid(half: float, rise: float, t: Array, tilt: float) -> Array:
    """Return one lid's y over t in [-1, 1] (nose to temple); `rise` is up if positive."""
    return (-rise * (1 - np.abs(t) ** 2.2) ** 0.85 + tilt * t * half).astype(np.float32)


def _eye(paint: Paint, look: Look, au: dict[int, float], pose: Pose, s: float) -> None:
    """Draw one eye: AU5 lifts the upper lid, AU43 closes it, AU6 and AU7 raise the lower."""
    half = 0.255 * look.eye
    t = np.linspace(-1, 1, 25, dtype=np.float32)
    upper = (0.108 + 0.130 * au[5] - 0.028 * au[7]) * look.eye
    lower = (0.068 + 0.025 * au[5] - 0.035 * au[7] - 0.03 * au[6] - 0.02 * au[9]) * look.eye
    shut = min(1.0, au[43])
    upper += (-0.050 - upper) * shut
    lower += (0.053 - lower) * shut
    x = s * (0.5 + half * t)
    up = np.stack([x, _lid(half, upper, t, -0.06)], 1)
    low = np.stack([x, _lid(half, -lower, t, -0.06)], 1)
    skin = np.asarray(look.skin, np.float32)
    fold = up - (0, 0.065 + 0.05 * shut * look.eye)
    paint(np.concatenate([fold, up[::-1]]), skin * (0.86, 0.80, 0.80), 0.8, 0.02)
    paint(fold[3:-1], skin * 0.5, 0.55 - 0.25 * shut, 0.012, thick=0.02)
    ball = np.concatenate([up, low[::-1]])
    if upper + lower > 0.012:
        clip = mask(ball, 0.006)
        paint(ball, (238, 234, 230), 1.0, 0.006)
        _iris(paint, look, s * 0.5 + pose.gaze, clip)
        shadow = up + (0, 0.02)
        paint(shadow, (60, 50, 50), 0.45, 0.025, thick=0.04, clip=clip)
    paint(low, skin * (0.62, 0.48, 0.46), 0.75, 0.008, thick=0.016)
    lash = np.concatenate([up - (0, 0.016), (up + (0, 0.014))[::-1]])
    paint(lash, (32, 22, 20), 0.95, 0.006)
    bag = np.stack([x[3:-3], low[3:-3, 1] + 0.085 - 0.02 * au[6]], 1)
    paint(bag, skin * 0.58, 0.18 + 0.45 * max(au[6], 0.6 * au[7]), 0.018, thick=0.02)


def _iris(paint: Paint, look: Look, cx: float, clip: Array) -> None:
    r, cy = 0.118, -0.022
    iris = np.asarray(look.iris, np.float32)
    paint(ellipse(cx, cy, r, r), iris * 0.45, 1.0, 0.006, clip=clip)
    paint(ellipse(cx, cy, r * 0.84, r * 0.84), iris, 1.0, 0.008, clip=clip)
    paint(ellipse(cx, cy + 0.03, r * 0.6, r * 0.5), iris * 1.35, 0.5, 0.02, clip=clip)
    paint(ellipse(cx, cy, r * 0.45, r * 0.45), (12, 10, 12), 1.0, 0.006, clip=clip)
    paint(ellipse(cx - 0.035, cy - 0.035, 0.026, 0.026), (255, 255, 255), 0.95, 0.006, clip=clip)


@dataclass(frozen=True, slots=True, eq=False)
class _Lips:
    """The four curves of the mouth, each (N, 2), left corner to right corner."""

    top: Array
    over: Array
    under: Array
    bottom: Array


def _lips(look: Look, au: dict[int, float]) -> _Lips:
    """Return the lips: 12 and 15 move the corners, 25 and 26 part, 10, 17 and 20 shape them."""
    half = 0.40 + 0.15 * au[12] + 0.15 * au[20] - 0.03 * au[15] - 0.05 * au[26] - 0.03 * au[17]
    u = np.linspace(-1, 1, 33, dtype=np.float32)
    middle = 1.11 - 0.045 * au[17] - 0.02 * au[12]
    corner = -0.16 * au[12] + 0.16 * au[15] + 0.04 * au[20] + 0.05 * au[26]
    line = middle + corner * np.abs(u) ** 2.0 - 0.012 * np.cos(2 * np.pi * u) - 0.022 * u**2
    arc = np.clip(1 - u**2, 0, 1)
    part = au[25]
    over = (
        line - (0.05 * part + 0.05 * au[10]) * arc**0.7 - 0.03 * au[10] * arc - 0.03 * au[9] * arc
    )
    under = line + (0.15 * part + 0.15 * au[26] * min(1.0, 2.0 * part)) * arc**0.65
    under -= 0.05 * au[10] * arc**0.7 * (1 - min(1.0, 2.0 * part))
    thin = 1 - 0.2 * au[12] - 0.2 * au[20] - 0.1 * part
    bow = arc**0.6 * (1 - 0.28 * np.exp(-((u / 0.13) ** 2)))
    top = over - 0.105 * look.lips * thin * bow
    full = thin * (1 + 0.15 * au[17])
    bottom = under + 0.135 * look.lips * full * arc**0.55
    x = half * u
    curves = (np.stack([x, y], 1).astype(np.float32) for y in (top, over, under, bottom))
    return _Lips(*curves)


def _mouth(paint: Paint, look: Look, au: dict[int, float]) -> None:
    """Draw lips, and behind them the mouth with teeth and tongue where they part."""
    lips = _lips(look, au)
    lip = np.asarray(look.lip, np.float32)
    hole = np.concatenate([lips.over, lips.under[::-1]])
    gap = float((lips.under - lips.over)[:, 1].max())
    upper = np.concatenate([lips.top, lips.over[::-1]])
    lower = np.concatenate([lips.under, lips.bottom[::-1]])
    if gap > 0.015:
        clip = mask(hole, 0.006)
        paint(hole, (62, 20, 24), 1.0, 0.006)
        low = lips.under[16, 1]
        paint(ellipse(0, low + 0.02, 0.22, 0.10), (168, 80, 82), 0.8, 0.03, clip=clip)
        teeth = np.concatenate([lips.over[4:-4] - (0, 0.05), (lips.over + (0, 0.075))[4:-4][::-1]])
        paint(teeth, (236, 230, 220), 0.95, 0.010, clip=clip)
        paint(lips.over + (0, 0.01), (40, 12, 14), 0.45, 0.02, thick=0.03, clip=clip)
    paint(upper, lip * 0.86, 0.95, 0.008)
    paint(lower, lip, 0.95, 0.008)
    shine = 0.5 * (lips.under + lips.bottom)[11:-11]
    paint(shine, np.minimum(lip * 1.35 + 20, 255), 0.35, 0.02, thick=0.03)
    paint(lips.over, lip * 0.4, 0.8, 0.006, thick=0.018)
    if gap > 0.015:
        paint(lips.under, lip * 0.5, 0.5, 0.006, thick=0.012)
    for end in (lips.over[0], lips.over[-1]):
        paint([end, end + (0.001, 0.012)], lip * 0.35, 0.6, 0.014, thick=0.03)
    below = lips.bottom[8:-8] + (0, 0.035)
    paint(below, np.asarray(look.skin) * 0.6, 0.35, 0.03, thick=0.04)


def _wrinkles(paint: Paint, look: Look, au: dict[int, float]) -> None:
    """Draw the folds an action makes in the skin."""
    dark = np.asarray(look.skin, np.float32) * (0.62, 0.52, 0.5)
    x = np.linspace(-1, 1, 13)
    for row, y in enumerate((-0.72, -0.86, -1.0)):
        bend = -0.05 * au[1] * np.exp(-((x / 0.35) ** 2)) - 0.05 * au[2] * np.abs(x)
        line = np.stack([0.72 * x, y + bend + 0.04 * x**2], 1)
        paint(line[4:9], dark, 0.5 * au[1] * (1 - 0.2 * row), 0.014, thick=0.02)
        paint(line[:5], dark, 0.45 * au[2] * (1 - 0.2 * row), 0.014, thick=0.02)
        paint(line[8:], dark, 0.45 * au[2] * (1 - 0.2 * row), 0.014, thick=0.02)
    for s in (-1, 1):
        frown = [(s * 0.075, -0.52), (s * 0.055, -0.38), (s * 0.075, -0.24)]
        paint(smooth(frown), dark * 0.8, 0.8 * au[4], 0.014, thick=0.025)
        for k in range(3):
            foot = [(s * 0.83, 0.02 + 0.05 * k), (s * 0.97, -0.03 + 0.08 * k)]
            paint(foot, dark, 0.55 * au[6], 0.012, thick=0.015)
            nose = [(s * 0.06, 0.12 + 0.07 * k), (s * 0.14, 0.06 + 0.07 * k)]
            paint(nose, dark, 0.7 * au[9], 0.012, thick=0.018)
        wide = 0.44 + 0.10 * au[12] + 0.08 * au[20]
        fold = smooth([(s * 0.25, 0.66), (s * 0.38, 0.80), (s * wide, 1.0 - 0.08 * au[12])])
        deep = 0.16 + 0.5 * au[12] + 0.45 * au[10] + 0.3 * au[9] + 0.15 * au[15]
        paint(fold, dark, min(0.75, deep), 0.022, thick=0.03)
        droop = [(s * 0.44, 1.27), (s * 0.47, 1.4)]
        paint(droop, dark, 0.5 * au[15], 0.02, thick=0.03)
    for cx, cy in ((-0.12, 1.5), (0.1, 1.48), (0.0, 1.58), (-0.05, 1.43), (0.14, 1.59)):
        paint(ellipse(cx, cy, 0.018, 0.014), dark, 0.6 * au[17], 0.012)
    paint(ellipse(0, 1.36, 0.2, 0.02), dark, 0.2 + 0.4 * au[17], 0.03)


_COARSE = 4


@lru_cache(maxsize=32)
def _pull(action: int) -> Array:
    """Return how far AU `action` moves the skin, (2, H/4, W/4) in units."""
    x, y = (g[::_COARSE, ::_COARSE] for g in grid())
    dx, dy = np.zeros_like(x), np.zeros_like(x)
    for cx, cy, sx, sy, mx, my in _PULLS.get(action, []):
        for s in (-1, 1):
            hill = bump(x, y, s * cx, cy, sx, sy)
            dx += s * mx * hill
            dy += my * hill
    if action == 26:
        ramp = np.clip((y - 1.0) / 0.55, 0, 1)
        side = np.clip(1.35 - np.abs(x) / 1.1, 0, 1)
        dy += JAW * ramp**2 * (3 - 2 * ramp) * side
    return np.stack([dx, dy]).astype(np.float32)


def _stretch(layers: tuple[Array, ...], au: dict[int, float]) -> tuple[Array, ...]:
    """Return sheets of skin pulled along by the actions."""
    total = np.asarray(sum(au[k] * _pull(k) for k in (*_PULLS, 26)), np.float32)
    x, y = grid()
    move = cv2.resize(total.transpose(1, 2, 0), (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)
    map_x, map_y = (x - move[..., 0] + LEFT) * PX, (y - move[..., 1] + TOP) * PX
    return tuple(
        cv2.remap(layer, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        for layer in layers
    )


def render(look: Look, actions: Actions, pose: Pose, scene: Scene) -> Pixels:
    """Return one frame, (240, 320, 3) uint8 RGB; equal arguments give equal pixels."""
    au = {k: float(np.clip(actions.get(k, 0.0), 0, 1)) for k in ACTIONS}
    still = sheet(look)
    rgb, alpha, light = _stretch((still.rgb, still.alpha, shade(still.normals, pose, scene)), au)
    paint = Paint(rgb)
    _wrinkles(paint, look, au)
    for s in (-1.0, 1.0):
        _eye(paint, look, au, pose, s)
    _brows(paint, look, au)
    _mouth(paint, look, au)
    layer = np.empty((HEIGHT, WIDTH, 4), np.uint8)  # colours times cover, and cover
    tint = np.asarray(scene.tint, np.float32)
    layer[..., :3] = np.clip(rgb * (light * alpha)[..., None] * tint, 0, 255)
    layer[..., 3] = alpha * 255
    seen = cv2.remap(layer, *project(still.relief, pose), cv2.INTER_LINEAR, borderValue=0)
    head = cv2.resize(seen, (FRAME_WIDTH, FRAME_HEIGHT), interpolation=cv2.INTER_AREA)
    return compose(head, room(scene, look.skin), pose)
