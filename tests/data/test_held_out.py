"""The last lines of a text are kept apart, and nothing is left behind."""

import pytest

from gateflow.data.held_out import held_out
from gateflow.errors import DataError


@pytest.mark.parametrize(("lines", "share", "tail"), [(20, 0.05, 1), (40, 0.05, 2), (3, 0.05, 1), (10, 0.5, 5)])
def test_the_last_lines_are_held_out(tmp_path, lines, share, tail):
    text = tmp_path / "text"
    text.write_text("".join(f"line {i}\n" for i in range(lines)) + "\n\n")
    with held_out(text, share, tmp_path) as (first, last):
        assert first.read_text() + last.read_text() == "".join(f"line {i}\n" for i in range(lines))
        assert len(last.read_text().splitlines()) == tail
    assert [entry.name for entry in tmp_path.iterdir()] == ["text"]


def test_one_line_cannot_be_divided(tmp_path):
    (tmp_path / "text").write_text("one line\n\n")
    with (
        pytest.raises(DataError, match="text is one line, so none can be held out"),
        held_out(tmp_path / "text", 0.1, tmp_path),
    ):
        pass
