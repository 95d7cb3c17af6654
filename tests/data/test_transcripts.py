"""Which text belongs to which file: none takes that of another."""

from gateflow.data.transcripts import transcripts


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
