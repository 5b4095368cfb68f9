from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

from textualize.demo import head
from textualize.demo.face import ACTIONS, render
from textualize.demo.people import subjects
from textualize.demo.stage import Pose, Scene, project

PEOPLE = subjects()
WHO = PEOPLE[0]


def draw(actions: dict[int, float], pose: Pose | None = None, who: int = 0) -> np.ndarray[Any, Any]:
    person = PEOPLE[who]
    return render(person.look, actions, pose or Pose(), person.scene)


@cache
def still() -> np.ndarray[Any, Any]:
    return draw({}).astype(int)


def change(actions: dict[int, float]) -> np.ndarray[Any, Any]:
    return np.asarray(np.abs(draw(actions).astype(int) - still()).sum(2))


def test_equal_arguments_give_equal_pixels() -> None:
    first = draw({1: 0.7, 25: 0.4}, Pose(yaw=0.1, roll=-0.05))
    head.sheet.cache_clear()
    assert np.array_equal(first, draw({1: 0.7, 25: 0.4}, Pose(yaw=0.1, roll=-0.05)))


def test_a_frame_is_rgb_bytes_of_the_stated_size() -> None:
    assert draw({}).shape == (240, 320, 3)
    assert draw({}).dtype == np.uint8


@pytest.mark.parametrize("action", ACTIONS)
def test_every_action_shows_and_a_stronger_one_shows_more(action: int) -> None:
    half, full = (change({action: a}).sum() for a in (0.5, 1.0))
    assert 0 < half < full


@pytest.mark.parametrize("action", (1, 2, 4, 5, 7, 43))
def test_upper_face_actions_leave_the_mouth_alone(action: int) -> None:
    moved = change({action: 1.0})
    assert moved[:150].sum() > 0
    assert moved[155:].sum() == 0


@pytest.mark.parametrize("action", (15, 17, 25, 26))
def test_lower_face_actions_leave_the_eyes_alone(action: int) -> None:
    moved = change({action: 1.0})
    assert moved[:110].sum() == 0
    assert moved[150:].sum() > 0


def test_intensities_beyond_one_are_drawn_as_one() -> None:
    assert np.array_equal(draw({25: 3.0}), draw({25: 1.0}))


def test_the_jaw_falls_with_26_only() -> None:
    lips, jaw = (np.nonzero(change({k: 1.0}).sum(1))[0].max() for k in (25, 26))
    assert jaw > lips + 10


def test_projection_without_a_turn_is_the_plain_scale() -> None:
    x, y = project(head.sheet(WHO.look).relief, Pose())
    assert x.shape == (480, 640)
    middle = (x[239:241, 319:321].mean(), y[239:241, 319:321].mean())
    assert middle == pytest.approx((head.LEFT * head.PX, head.TOP * head.PX), abs=0.5)


def test_a_turned_head_shows_the_nose_further_to_its_side() -> None:
    mesh = mesh_reader()
    nose = [landmarks(mesh, draw({}, Pose(yaw=yaw)))[1, 0] for yaw in (-0.2, 0.0, 0.2)]
    assert nose[0] + 5 < nose[1] < nose[2] - 5


def mesh_reader() -> Any:
    mediapipe = pytest.importorskip("mediapipe")
    return mediapipe.solutions.face_mesh.FaceMesh(static_image_mode=True, refine_landmarks=True)


def landmarks(mesh: Any, frame: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    faces = mesh.process(frame).multi_face_landmarks
    assert faces, "no face found"
    return np.array([(p.x * 320, p.y * 240) for p in faces[0].landmark])


@pytest.mark.parametrize("who", range(len(PEOPLE)))
def test_every_person_is_found_as_a_face(who: int) -> None:
    mediapipe = pytest.importorskip("mediapipe")
    finder = mediapipe.solutions.face_detection.FaceDetection(model_selection=0)
    found = finder.process(draw({}, Pose(yaw=0.1), who)).detections
    assert found[0].score[0] > 0.9


# Action -> landmarks (a, b) and axis: how far b lies beyond a grows with the action.
MEASURES = {
    1: (55, 133, 1),
    2: (70, 33, 1),
    4: (65, 133, 1),
    5: (159, 145, 1),
    12: (61, 291, 0),
    15: (13, 61, 1),
    25: (13, 14, 1),
    26: (2, 152, 1),
    43: (145, 159, 1),
}


@pytest.mark.parametrize("action", MEASURES)
def test_the_landmarks_follow_the_drawn_action(action: int) -> None:
    mesh = mesh_reader()
    a, b, axis = MEASURES[action]
    sign = -1 if action == 4 else 1  # the brow comes down to the eye
    for who in (0, 6):
        read = []
        for amount in (0.0, 0.5, 1.0):
            points = landmarks(mesh, draw({action: amount}, who=who))
            read.append(sign * float(points[b, axis] - points[a, axis]))
        assert read[0] < read[1] < read[2]


def test_light_from_the_other_side_brightens_the_other_cheek() -> None:
    def cheeks(x: float) -> tuple[float, float]:
        frame = render(WHO.look, {}, Pose(), Scene(light=(x, -0.4, 0.7))).astype(float)
        return frame[135:145, 125:140].mean(), frame[135:145, 180:195].mean()

    left, right = cheeks(-0.8), cheeks(0.8)
    assert left[0] > left[1]
    assert right[1] > right[0]
