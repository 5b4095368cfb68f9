"""The 68 landmarks of iBUG (300-W), by which published work names the parts of a face.

0-16 the jaw from the left of the picture to its right, 17-26 the brows, 27-35 the nose, 36-41 and
42-47 the eyes, 48-59 the outer and 60-67 the inner outline of the lips.
"""

POINTS = 68
MESH = 478  # points of MediaPipe's mesh, irises included
OUTER_CORNERS = (36, 45)  # of the eyes; they are the inter-ocular distance apart

# Each landmark's mirror image: jaw, brows, nose; eyes; lips
MIRROR = (
    *range(16, -1, -1), *range(26, 16, -1), 27, 28, 29, 30, *range(35, 30, -1),
    45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40,
    54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65,
)  # fmt: skip

# The points of MediaPipe's mesh that are nearest to them in meaning
OF_MESH = (
    162, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 389,
    71, 63, 105, 66, 107, 336, 296, 334, 293, 301,
    168, 197, 5, 4, 75, 97, 2, 326, 305,
    33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380,
    61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181, 78, 82, 13, 312, 308, 317, 14, 87,
)  # fmt: skip
