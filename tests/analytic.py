"""What networks cost by closed formulas, written from what they are described as.

Multiply-adds are those of convolutions and linear layers; a convolution of kernel k from a to b
channels has k a b weights, each used once at every point of what comes out. `half` is the side
that a stride of 2 leaves.
"""

from dataclasses import dataclass

SCALES = (3, 5, 7)


@dataclass(frozen=True)
class Cost:
    """Parameters, and multiply-adds of one clip."""

    parameters: int
    macs: int

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.parameters + other.parameters, self.macs + other.macs)


NOTHING = Cost(0, 0)


def half(n: int) -> int:
    """Return ceil(n / 2)."""
    return -(-n // 2)


def conv(weights: int, out: int, points: int) -> Cost:
    """A convolution without bias, with its batch norm's two numbers a channel."""
    return Cost(weights + 2 * out, weights * points)


def linear(a: int, b: int, rows: int = 1, bias: bool = True) -> Cost:
    """A linear layer on so many rows."""
    return Cost(a * b + b * bias, a * b * rows)


def small_backbone(w: int, size: int, frames: int = 1, over_time: int = 1, large=False) -> Cost:
    """The ResNet of w channels, one block of two 3x3 convolutions a stage, w to 8 w.

    over_time: 3 for the inflated one, whose kernels wider than a point see three pictures. large:
    the last two stages keep the size.
    """
    t, k = frames, over_time
    side = half(size)
    found = conv(49 * k * 3 * w, w, t * side**2)
    side = half(side)  # the largest of 3x3, stride 2
    a = w
    for stage, b in enumerate((w, 2 * w, 4 * w, 8 * w)):
        strides = stage > 0 and not (large and stage >= 2)
        side = half(side) if strides else side
        points = t * side**2
        found += conv(9 * k * a * b, b, points) + conv(9 * k * b * b, b, points)
        found += conv(a * b, b, points) if a != b else NOTHING
        a = b
    return found


def stochastic_softmax(w: int, size: int, frames: int, hidden: int, classes: int) -> Cost:
    """The inflated backbone, and two linear layers on every picture."""
    body = small_backbone(w, size, frames, over_time=3)
    return body + linear(8 * w, hidden, frames) + linear(hidden, classes, frames)


def au_guided(w: int, size: int, classes: int) -> Cost:
    """One picture: the backbone with large maps, and a linear layer on their mean."""
    return small_backbone(w, size, large=True) + linear(8 * w, classes)


def subject_msda(width: int, hidden: int, outputs: int) -> Cost:
    """W x + V relu(U x)."""
    direct = linear(width, outputs) + linear(width, hidden)
    return direct + linear(hidden, outputs, bias=False)


def dmsn_block(kind: str, a: int, out: int, side: tuple[int, int], stride: int) -> Cost:
    """A block of methods' description 8.3, of a channels to `out`; side: T and H = W that come in.

    c = 3 out / 8 channels in the middle, q of a branch. What is over space comes before what is
    over time, which then sees a smaller picture.
    """
    t, s = side
    small = half(s) if stride == 2 else s
    late = half(t) if stride == 2 else t
    whole, flat, last = t * s**2, t * small**2, late * small**2
    c = 3 * out // 8
    q = c // (4 if kind == "msn" else 3)
    if kind == "a":
        parts = conv(a * c, c, whole) + conv(9 * c * c, c, flat)
        for k in SCALES:
            parts += conv(k * c * q, q, last)
    elif kind == "b":
        parts = conv(a * c, c, whole)
        for k in SCALES:
            parts += conv(k * k * c * q, q, flat) + conv(k * q * q, q, last)
    elif kind == "c":
        parts = conv(a * c, c, whole)
        for k in SCALES:
            parts += conv(k * k * c * q, q, flat)
        parts += conv(3 * (3 * q) ** 2, 3 * q, last)
    else:
        parts = conv(3 * a * c, c, whole)
        for k in SCALES:
            parts += conv(k**3 * c * q, q, last)
    parts += conv((3 if kind == "msn" else 1) * 3 * q * out, out, last)
    return parts + (conv(a * out, out, last) if a != out or stride != 1 else NOTHING)


def dmsn(kind: str, blocks: tuple[int, ...], stem: int, frames: int, size: int) -> Cost:
    """Stem and four stages of 2, 4, 8 and 16 stem channels, without head."""
    side = half(size)
    found = conv(7**3 * 3 * stem, stem, frames * side**2)
    t, side, a = half(frames), half(side), stem  # the largest of 3x3x3, stride 2
    for count, stride, scale in zip(blocks, (1, 2, 2, 1), (2, 4, 8, 16), strict=True):
        out = scale * stem
        for i in range(count):
            found += dmsn_block(kind, a, out, (t, side), stride if i == 0 else 1)
            if i == 0 and stride == 2:
                t, side = half(t), half(side)
            a = out
    return found
