"""Where a drawn head stands: its pose, the light on it, the room behind it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from textualize.demo.head import LEFT, PX, TOP, Array, Colour

FRAME_WIDTH, FRAME_HEIGHT = 320, 240
Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Pose:
    """Where the head is: angles in radians, shift in units, `zoom` output pixels per unit."""

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    x: float = 0.0
    y: float = 0.0
    zoom: float = 50.0
    gaze: float = 0.0


@dataclass(frozen=True, slots=True)
class Scene:
    """Light, wall and clothes. `light` points to the lamp (x right, y down, z to the viewer)."""

    light: tuple[float, float, float] = (-0.4, -0.5, 0.8)
    ambient: float = 0.55
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)
    wall: Colour = (150, 165, 175)
    cloth: Colour = (70, 90, 130)


def shade(normals: Array, pose: Pose, scene: Scene) -> Array:
    """Return the light on the relief, (H, W): ambient, wrapped Lambert and a soft gloss."""
    light = np.asarray(scene.light, np.float32)
    light = light / np.linalg.norm(light)
    turn = _rotation(pose).T @ light
    lit = normals @ turn.astype(np.float32)
    diffuse = np.clip((lit + 0.35) / 1.35, 0, 1)
    gloss = np.clip(normals @ _half(turn), 0, 1) ** 24
    return (scene.ambient + (1.12 - scene.ambient) * diffuse + 0.10 * gloss).astype(np.float32)


def _half(turn: Array) -> Array:
    middle = turn + np.asarray((0, 0, 1), np.float32)
    return (middle / np.linalg.norm(middle)).astype(np.float32)


def _rotation(pose: Pose) -> Array:
    """Return the head's rotation (3, 3): pitch, then yaw, then roll."""
    (cy, sy), (cp, sp), (cr, sr) = (
        (np.cos(a), np.sin(a)) for a in (pose.yaw, pose.pitch, pose.roll)
    )
    yaw = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    pitch = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    roll = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return np.asarray(roll @ yaw @ pitch, np.float32)


def project(relief: Array, pose: Pose) -> tuple[Array, Array]:
    """Return for each half-pixel of the frame the sheet pixel seen there: two (2h, 2w) maps.

    A point (x, y, z(x, y)) is seen at the first two rows of R (x, y, z); the inverse is found by
    fixed-point iteration, which contracts since the relief is flat enough at these angles.
    """
    step = 4
    ys, xs = np.mgrid[0:FRAME_HEIGHT:step, 0:FRAME_WIDTH:step].astype(np.float32)
    u = (xs + step / 2 - FRAME_WIDTH / 2) / pose.zoom - pose.x
    v = (ys + step / 2 - FRAME_HEIGHT / 2) / pose.zoom - pose.y
    turn = _rotation(pose)
    inverse = np.linalg.inv(turn[:2, :2]).astype(np.float32)
    x, y = u, v
    for _ in range(5):
        z = cv2.remap(
            relief,
            (x + LEFT) * PX,
            (y + TOP) * PX,
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        right, down = u - turn[0, 2] * z, v - turn[1, 2] * z
        x = inverse[0, 0] * right + inverse[0, 1] * down
        y = inverse[1, 0] * right + inverse[1, 1] * down
    size = (2 * FRAME_WIDTH, 2 * FRAME_HEIGHT)
    fine = (cv2.resize(m, size, interpolation=cv2.INTER_CUBIC) for m in (x, y))
    map_x, map_y = fine
    return (map_x + LEFT) * PX, (map_y + TOP) * PX


@lru_cache(maxsize=8)
def room(scene: Scene, skin: Colour) -> Array:
    """Return wall, shoulders and neck, (h, w, 3), drawn at twice the size for clean edges."""
    h, w = 2 * FRAME_HEIGHT, 2 * FRAME_WIDTH
    ys, xs = np.mgrid[0:h, 0:w].astype(np.float32)
    fall = 1.06 - 0.28 * (ys / h) - 0.16 * np.abs(xs / w - 0.5 + 0.25 * scene.light[0])
    rgb = np.asarray(scene.wall, np.float32) * fall[..., None]
    middle = w / 2
    neck = [(-75, 330), (75, 330), (82, 420), (130, 520), (-130, 520), (-82, 420)]
    shirt = [(-330, 520), (-280, 455), (-150, 428), (-92, 412), (0, 466)]
    shirt += [(-x, y) for x, y in reversed(shirt[:-1])]
    for points, colour, low in (
        (neck, np.asarray(skin) * 0.72, 0.8),
        (shirt, np.asarray(scene.cloth), 0.9),
    ):
        spot = np.zeros((h, w), np.uint8)
        p = np.asarray(points, np.float32) + (middle, 0)
        cv2.fillPoly(spot, [np.round(p).astype(np.int32)], (255,), cv2.LINE_AA)
        weight = cv2.GaussianBlur(spot, (0, 0), 1.5).astype(np.float32)[..., None] / 255
        side = 1 + 0.25 * scene.light[0] * (xs - middle) / middle
        rgb += (np.asarray(colour, np.float32) * (low * side)[..., None] - rgb) * weight
    small = cv2.resize(rgb, (FRAME_WIDTH, FRAME_HEIGHT), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float32)


def compose(head: Pixels, room: Array, pose: Pose) -> Pixels:
    """Return the head (h, w, 4) before the room, whose body follows half of its sway."""
    shift = np.array([[1, 0, pose.x], [0, 1, pose.y]], np.float32)
    shift[:, 2] *= 0.5 * pose.zoom
    moved = cv2.warpAffine(
        room, shift, (FRAME_WIDTH, FRAME_HEIGHT), borderMode=cv2.BORDER_REPLICATE
    )
    clear = 1 - head[..., 3:].astype(np.float32) / 255
    full = np.clip(head[..., :3] + moved * clear, 0, 255)
    return np.asarray(np.round(full), np.uint8)
