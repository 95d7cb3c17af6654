"""Which text belongs to which file: none takes that of another."""

import pytest

from gateflow.data.listing import TEXT, read_listing
from gateflow.data.transcripts import transcripts
from gateflow.errors import DataError


def found_in(folder, files, texts):
    """The labels of some empty pictures beside some texts."""
    for name in files:
        (folder / name).write_bytes(b"")
    for name in texts:
        (folder / name).write_text(f"of {name}")
    return {x.path.name: x.label for x in transcripts(folder, {".png"}, what="image")}


def test_a_name_with_a_dot_has_a_text_of_its_own(tmp_path):
    files = ["v1.png", "v1.2.png", "v1.3.png", "v1.4.png", "v1.2.bin.png"]
    assert found_in(tmp_path, files, ["v1.gt.txt", "v1.2.txt", "v1.3.gt.txt", "v1.3.txt"]) == {
        "v1.png": "of v1.gt.txt",
        "v1.2.png": "of v1.2.txt",
        "v1.3.png": "of v1.3.gt.txt",
        "v1.4.png": None,
        "v1.2.bin.png": None,
    }


def test_pictures_that_were_made_of_one_share_its_text(tmp_path):
    files = ["a.bin.png", "a.nrm.png", "b.1.dew.png", "c.bin.png", "d.bin.png", "d.png", "e.raw.png"]
    texts = ["a.gt.txt", "b.1.gt.txt", "b.gt.txt", "c.gt.txt", "c.bin.txt", "d.gt.txt", "e.gt.txt"]
    assert found_in(tmp_path, files, texts) == {
        "a.bin.png": "of a.gt.txt",
        "a.nrm.png": "of a.gt.txt",
        "b.1.dew.png": "of b.1.gt.txt",
        "c.bin.png": "of c.bin.txt",
        "d.bin.png": None,
        "d.png": "of d.gt.txt",
        "e.raw.png": None,
    }


def listed(folder, text):
    """Names and texts of a list."""
    (folder / "list.tsv").write_bytes(text.encode())
    return [(x.name, x.label) for x in read_listing(folder / "list.tsv", TEXT, what="image")]


def test_a_text_that_is_the_name_of_a_column_is_a_text(tmp_path):
    for word in ("file", "Image", "audio", "path"):
        assert listed(tmp_path, f"a.png\t{word}\nb.png\tx\n") == [("a.png", word), ("b.png", "x")]
    assert listed(tmp_path, "text\timage\nx\ta.png\n") == [("a.png", "x")]


def test_lists_that_would_be_misread_are_refused(tmp_path):
    with pytest.raises(DataError, match="line 1: a carriage return stands within it"):
        listed(tmp_path, "a.png\tab\rb.png\tcd\r")
    (tmp_path / "link").symlink_to(tmp_path)
    for name in ("./a.png", "link/a.png"):
        with pytest.raises(DataError, match="line 2: .*stands in the list already"):
            listed(tmp_path, f"a.png\tab\n{name}\tcd\n")
    with pytest.raises(DataError, match="line 1: a line is a path, a text and a group"):
        listed(tmp_path, "a.png\tab\tcd\tef\n")
