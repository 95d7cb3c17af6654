"""Strokes: the same writing at any size and speed of the pen, and nothing in a file is believed."""

import json

import numpy as np
import pytest
import torch

from gateflow.data.strokes.augmentation import StrokeAugment
from gateflow.data.strokes.cursive import LETTERS, cursive, cursive_lines
from gateflow.data.strokes.reading import points_along, read_strokes
from gateflow.errors import DataError, DataWarning

LINE = {"text": "ab", "points": [[0, 0, 0], [0, 4, 1], [3, 4, 0], [3, 0, 1]]}


def written(path, *lines):
    path.write_text("".join((x if isinstance(x, str) else json.dumps(x)) + "\n" for x in lines))
    return path


def test_points_lie_at_equal_distances_and_know_where_they_were():
    points = np.array([[0, 0, 0], [0, 1, 0], [0, 4, 1], [3, 4, 0], [3, 0, 1]], dtype=np.float64)
    # The ink is two upright bars of 4: their mean is 2, their deviation by pieces √((1·1.5² + 3·0.5² + 0) / 8).
    unit = np.sqrt((1.5**2 * 1 + 0.5**2 * 3) / 8)
    values, places = points_along(points, 1 / unit)
    assert values.shape == (10, 4)
    assert (values[:, 1] * unit).round(5).tolist() == [0, 1, 1, 1, 1, 0, -1, -1, -1, -1]
    assert (values[:, 0] * unit).round(5).tolist() == [0, 0, 0, 0, 0, 3, 0, 0, 0, 0]
    assert (values[:, 2] * unit).round(5).tolist() == [-2, -1, 0, 1, 2, 2, 1, 0, -1, -2]
    assert values[:, 3].tolist() == [1, 0, 0, 0, 0, 1, 0, 0, 0, 0]
    assert places.round(5).tolist() == [0, 1, 1.33333, 1.66667, 2, 3, 3.25, 3.5, 3.75, 4]


def test_size_place_and_speed_change_nothing():
    points = np.array(cursive("the cat", np.random.default_rng(1)))
    values, _ = points_along(points, 0.35)
    larger = points * [7.5, 7.5, 1] + [1000, -500, 0]
    assert np.allclose(points_along(larger, 0.35)[0], values, atol=1e-4)
    # Each piece written in two: no new ink.
    between = (points[:-1] + points[1:]) / 2
    between[:, 2] = 0
    joined = np.flatnonzero(points[:-1, 2] == 0)
    slow = np.insert(points, joined + 1, between[joined], axis=0)
    found = points_along(slow, 0.35)[0]
    assert found.shape == values.shape
    # The unit weighs pieces by their middles, which are finer now.
    assert np.abs(found - values).max() < 0.05


def test_dots_and_bars_have_a_size_too():
    for points in ([[5, 5, 1]], [[5, 5, 0], [5, 5, 1]], [[0, 3, 0], [9, 3, 1]], [[0, 0, 1], [0, 9, 1]]):
        values, places = points_along(np.array(points, dtype=np.float64), 0.35)
        assert np.isfinite(values).all()
        assert len(values) == len(places) >= 1
        assert values[0, 3] == 1


def test_a_line_whose_pen_is_not_lifted_ends_all_the_same(tmp_path):
    up = written(tmp_path / "up.jsonl", LINE, {**LINE, "points": LINE["points"][:3]})
    assert [len(x.values) > 1 for x in read_strokes(up)] == [True, True]
    never = written(tmp_path / "never.jsonl", {**LINE, "points": [[0, 0, 0], [1, 3, 0]]})
    with pytest.warns(DataWarning, match="no point of any line lifts the pen"):
        list(read_strokes(never))


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{", "line 2 is no JSON"),
        ("[" * 100_000, "line 2 is no JSON"),
        ("[1, 2]", "line 2: .* is no object"),
        ({"text": "a"}, "is no object"),
        ({"points": []}, "line 2 has no points"),
        ({"points": "abc"}, "line 2 has no points"),
        ({"points": [[0, 0]]}, r"line 2, point 1 is \[0, 0\]\. A point is three numbers"),
        ({"points": [[0, 0, 0], [0, True, 0]]}, "point 2 is .* A point is three numbers"),
        ({"points": [[0, "1", 0]]}, "A point is three numbers"),
        ('{"points": [[0, NaN, 0]]}', "point 1 is .*: NaN, infinite, or far too large"),
        ('{"points": [[0, 1e999, 0]]}', "NaN, infinite, or far too large"),
        ({"points": [[0, 10**400, 0]]}, "NaN, infinite, or far too large"),
        ({"points": [[0, 0, 2]]}, "its pen is 2"),
        ({"points": [[0, 0, 1]], "text": 3}, "text is 3, and no text"),
    ],
)
def test_what_is_no_line_of_strokes_is_told_and_left_out_only_if_asked(line, told, tmp_path):
    file = written(tmp_path / "a.jsonl", LINE, line)
    with pytest.raises(DataError, match=told):
        list(read_strokes(file))
    with pytest.warns(DataWarning, match="1 of 2 lines cannot be read and are left out"):
        assert [x.label for x in read_strokes(file, skip_bad=True)] == ["ab"]


def test_more_points_than_a_page_has_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"line 1: its ink is .* points long at 1e-06 deviations of its height"):
        list(read_strokes(written(tmp_path / "a.jsonl", LINE), 1e-6))


def test_cursive_is_the_same_for_one_seed_and_differs_from_writing_to_writing():
    lines = list(cursive_lines(["a dog", "a dog"], seed=3))
    assert lines == list(cursive_lines(["a dog", "a dog"], seed=3))
    first, second = (json.loads(line)["points"] for line in lines)
    assert first != second
    assert first[-1][2] == 1
    for letter in LETTERS:
        points = cursive(letter, np.random.default_rng(0))
        assert sum(pen for _, _, pen in points) == (2 if letter in "ijtx" else 1)
    for wrong in ("", "  ", "A", "ä", "a1"):
        with pytest.raises(DataError, match="cursive has the letters"):
            cursive(wrong, np.random.default_rng(0))


def test_augmentation_is_one_for_a_line():
    torch.manual_seed(0)
    points = torch.randn(30, 3, 4)
    found = StrokeAugment(noise=0)(points, torch.tensor([30, 20, 9]))
    # y is scaled by one number for each line.
    ratios = found[..., 2] / points[..., 2]
    assert torch.allclose(ratios, ratios[:1].expand_as(ratios), atol=1e-5)
    assert len(ratios[0].unique()) == 3


def test_half_of_a_character_is_refused_with_its_line(tmp_path):
    good = '{"text": "a", "points": [[0, 0, 0], [1, 1, 1]]}'
    (tmp_path / "a.jsonl").write_text(good + "\n" + good.replace('"a"', '"\\ud800"'))
    with pytest.raises(DataError, match=r"a\.jsonl, line 2: text .* holds half of a character"):
        list(read_strokes(tmp_path / "a.jsonl"))
