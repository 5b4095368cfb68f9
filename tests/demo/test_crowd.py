from __future__ import annotations

import csv
import io
from collections import Counter, defaultdict

from textualize.demo import build, script
from textualize.demo.crowd import FACTORS, crowd
from textualize.demo.face import render
from textualize.demo.people import subjects

MANY = script.lines(people=40)


def test_the_twelve_are_the_first_of_any_crowd() -> None:
    assert crowd(12, script.SEED) == subjects()
    assert crowd(40, script.SEED)[:12] == subjects()
    assert crowd(20, script.SEED) == crowd(40, script.SEED)[:20]
    assert script.lines() == MANY[: 12 * 14]


def test_no_two_people_look_or_sound_alike_and_all_are_between_the_twelve() -> None:
    people, known = crowd(60, 1), subjects()
    assert len({p.look for p in people}) == len({p.id for p in people}) == 60
    assert len({p.voice for p in people}) > 55
    for name in FACTORS:
        values = [getattr(p.look, name) for p in known]
        room = 0.2 * (max(values) - min(values))
        for person in people:
            assert min(values) - room <= getattr(person.look, name) <= max(values) + room
    for p in people:
        assert all(0 <= c <= 255 for c in (*p.look.skin, *p.look.hair, *p.scene.wall))


def test_light_and_pose_differ_from_clip_to_clip_of_a_drawn_person() -> None:
    own = [line for line in MANY if line.subject.id == "s20"]
    assert len({line.scene.light for line in own}) == len({line.sway for line in own}) == 14
    assert {line.scene.wall for line in own} == {own[0].subject.scene.wall}
    shipped = [line for line in MANY if line.subject.id == "s05"]
    assert {line.scene for line in shipped} == {shipped[0].subject.scene}
    assert {line.sway for line in shipped} == {1.0}
    yaws = [abs(p.yaw) for line in MANY[12 * 14 :: 3] for p in script.poses(line, 40)]
    assert 0.27 < max(yaws) < 0.45  # radians


def test_a_drawn_person_is_drawn_and_another_lamp_shows() -> None:
    own = sorted((x for x in MANY if x.subject.id == "s30"), key=lambda x: x.scene.light[0])
    left, right = own[0], own[-1]
    pose = script.poses(left, 5)[0]
    faces = [
        render(left.subject.look, {12: 0.5}, pose, line.scene)[80:170, 125:195].astype(float)
        for line in (left, right)
    ]
    half = faces[0].shape[1] // 2
    brighter = [face[:, :half].mean() - face[:, half:].mean() for face in faces]
    assert faces[0].std() > 20
    assert brighter[0] > brighter[1] + 10  # the side the lamp stands on


def test_nobody_is_in_two_splits() -> None:
    rows = list(csv.DictReader(io.StringIO(build.manifest(MANY))))
    where = defaultdict(set)
    for row in rows:
        where[row["subject"]].add(row["split"])
    assert all(len(splits) == 1 for splits in where.values())
    assert Counter(next(iter(s)) for s in where.values()) == {
        "train": 22, "validation": 6, "test": 12,
    }  # fmt: skip
    assert {r["split"] for r in csv.DictReader(io.StringIO(build.manifest(script.lines())))} == {""}
