"""Pictures of lines: every mode gives the same ink, and what is no line is told by name."""

import numpy as np
import pytest
import torch
from PIL import Image

from gateflow.data.images.augmentation import LineAugment
from gateflow.data.images.lines import LineImage, read_line_images
from gateflow.data.images.pixels import read_grey
from gateflow.data.listing import ListedFile
from gateflow.errors import ConfigError, DataError, DataWarning


def page(height=30, width=120):
    """Light paper, two dark bars, one grey one."""
    found = np.full((height, width), 240, dtype=np.uint8)
    found[5:25, 20:30], found[5:15, 50:60], found[5:25, 90:100] = 16, 16, 128
    return found


def saved(image, path, **options):
    image.save(path, **options)
    return path


MODES = ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I;16", "I", "F"]


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_gives_the_ink_of_the_grey_picture(mode, tmp_path):
    grey, wanted = page(), page().astype(np.float32)
    if mode == "I;16":
        image = Image.fromarray(grey.astype(np.uint16) * 257)
    elif mode in ("I", "F"):
        image = Image.fromarray(grey.astype(np.int32 if mode == "I" else np.float32))
    else:
        image = Image.fromarray(grey).convert(mode, dither=Image.Dither.NONE)
    if mode == "1":
        wanted = np.where(wanted > 127, 255.0, 0.0)
    file = saved(image, tmp_path / ("a.png" if mode in ("LA", "RGBA", "P") else "a.tif"))
    with Image.open(file) as found:
        # The file is of the mode that is asked for, not of one that it was turned into.
        assert found.mode == mode
    assert np.abs(read_grey(file) - wanted).max() <= 3


def test_transparent_paper_is_white(tmp_path):
    rgba = np.zeros((30, 120, 4), dtype=np.uint8)
    rgba[..., 3] = np.where(page() < 200, 255, 0)  # black everywhere, seen where the ink is
    grey = read_grey(saved(Image.fromarray(rgba), tmp_path / "a.png"))
    assert (grey[0, 0], grey[10, 25]) == (255, 0)


def test_a_picture_is_turned_as_its_exif_says(tmp_path):
    image = Image.fromarray(page()).transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter to the right
    file = saved(image, tmp_path / "a.png", exif=exif)
    assert np.array_equal(read_grey(file), page())


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "packbits"])
@pytest.mark.parametrize("mode", ["1", "L", "I;16", "RGB", "RGBA", "P"])
def test_a_tiff_may_lie_on_any_side(tmp_path, mode, compression):
    """Of one that is not compressed, and is opened by its name, Pillow 12 and 13 scramble the rows."""
    deep = np.random.default_rng(0).integers(0, 1 << 16, (5, 9)).astype(np.uint16)
    image = Image.fromarray(deep) if mode == "I;16" else Image.fromarray((deep >> 8).astype(np.uint8)).convert(mode)
    plain = read_grey(saved(image, tmp_path / "plain.tif", compression=compression))
    turned = {
        1: plain,
        2: plain[:, ::-1],
        3: plain[::-1, ::-1],
        4: plain[::-1],
        5: plain.T,
        6: np.rot90(plain, -1),
        7: np.rot90(plain, 2).T,
        8: np.rot90(plain, 1),
    }
    for tag, wanted in turned.items():
        file = saved(image, tmp_path / f"{tag}.tif", tiffinfo={0x0112: tag}, compression=compression)
        assert np.array_equal(read_grey(file), wanted), tag


def test_a_picture_with_hardly_any_contrast_is_told_how_little(tmp_path):
    deep = np.full((30, 120), 30_000, dtype=np.uint16)
    deep[5:25, 20:60] = 29_000
    with pytest.raises(DataError, match=r"a\.png is empty: its pixels differ by 3\.89 of 255, .* stretch its contrast"):
        LineImage()(saved(Image.fromarray(deep), tmp_path / "a.png"))


def test_what_is_no_picture_is_told_without_pythons_words(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"a\.png cannot be read as a picture: Pillow knows no such\. Give"):
        read_grey(tmp_path / "a.png")


def test_ink_may_be_light_and_the_rarer_side_is_ink():
    light = 255 - page().astype(np.float32)
    dark = LineImage(30).ink_of(page().astype(np.float32))
    assert np.array_equal(dark, LineImage(30).ink_of(light))
    assert np.array_equal(dark, LineImage(30, "light").ink_of(light))
    assert (dark[25, 10], dark[0, 0]) == (255, 0)
    assert 100 < dark[95, 10] < 155
    # Asked for, even the common side is ink.
    assert LineImage(30, "light").ink_of(page().astype(np.float32))[0, 0] == 255


def test_height_is_normalised_and_width_in_proportion(tmp_path):
    files = [ListedFile(saved(Image.fromarray(page(60, 300)), tmp_path / "a.png"), "a.png", "the text")]
    (line,) = read_line_images(files, "list", LineImage(20))
    assert (line.values.shape, line.values.dtype, line.label, line.name) == ((100, 20), np.uint8, "the text", "a.png")
    # Places are columns of the file.
    assert line.times.tolist() == [3 * k for k in range(100)]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "cannot be read as a picture"),
        (b"no picture", "cannot be read as a picture"),
        (b"\x89PNG\r\n\x1a\n", "cannot be read as a picture"),
    ],
)
def test_broken_files_are_named(content, told, tmp_path):
    (tmp_path / "bad.png").write_bytes(content)
    with pytest.raises(DataError, match=rf"bad\.png {told}"):
        read_grey(tmp_path / "bad.png")


def test_a_file_that_was_cut_short_is_named(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (40, 400), dtype=np.uint8)
    for name in ("a.png", "a.jpg", "a.tif"):
        file = saved(Image.fromarray(noise), tmp_path / name)
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
        with pytest.raises(DataError, match=rf"{name} cannot be read as a picture"):
            read_grey(file)


def test_what_is_no_line_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"none\.png does not exist"):
        read_grey(tmp_path / "none.png")
    blank = saved(Image.fromarray(np.full((30, 100), 200, dtype=np.uint8)), tmp_path / "blank.png")
    with pytest.raises(DataError, match=r"blank\.png is empty: its pixels differ by 0 of 255"):
        LineImage(20)(blank)
    wide = saved(Image.new("1", (200_000, 2)), tmp_path / "wide.png")
    with pytest.raises(DataError, match=r"wide\.png is 200,000 pixels wide and 2 high, which is no line"):
        LineImage(20)(wide)
    two = tmp_path / "two.tif"
    Image.fromarray(page()).save(two, save_all=True, append_images=[Image.fromarray(page())])
    with pytest.raises(DataError, match="holds 2 pictures"):
        read_grey(two)
    holes = page().astype(np.float32)
    holes[3, 4] = np.nan
    with pytest.raises(DataError, match="holds NaN"):
        read_grey(saved(Image.fromarray(holes), tmp_path / "nan.tif"))


def test_an_enormous_picture_is_refused_before_it_is_read(tmp_path):
    file = saved(Image.new("1", (10_000, 7_000)), tmp_path / "huge.png")
    assert file.stat().st_size < 20_000
    with pytest.raises(DataError, match=r"10,000 × 7,000 pixels, and 67,108,864 at most"):
        read_grey(file)
    # So many that Pillow refuses to open it.
    more = saved(Image.new("1", (40_000, 10_000)), tmp_path / "more.png")
    with pytest.raises(DataError, match=r"more\.png cannot be read as a picture"):
        read_grey(more)


def test_what_is_higher_than_wide_is_told_once(tmp_path):
    turned = Image.fromarray(np.ascontiguousarray(page().T))
    files = [ListedFile(saved(turned, tmp_path / f"{i}.png"), f"{i}.png") for i in range(5)]
    with pytest.warns(DataWarning, match=r"5 of 5 pictures are higher than wide: 0\.png, 1\.png, 2\.png, …") as told:
        list(read_line_images(files, "list", LineImage(20)))
    assert len(told) == 1


def test_without_pillow_the_command_is_told(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "PIL", None)
    with pytest.raises(ConfigError, match=r"pip install 'gateflow\[transcription\]'"):
        read_grey(tmp_path / "a.png")


def test_augmentation_keeps_lengths_and_is_drawn_anew():
    torch.manual_seed(0)
    lines, lengths = torch.zeros(80, 3, 24), torch.tensor([80, 50, 1])
    lines[20:26, :, 6:18] = 1
    augment = LineAugment()
    found, again = augment(lines, lengths), augment(lines, lengths)
    assert found.shape == lines.shape
    assert found.min() >= 0
    assert found.max() <= 1
    assert not found.equal(again)
    assert not found[50:, 1].any()
    assert not found[1:, 2].any()
    assert augment.eval()(lines, lengths) is lines
    # With every option at nothing it is the line.
    still = LineAugment(slant=0, shift=0, scale=0, sway=0, blots=False, noise=0, strength=0)(lines, lengths)
    assert torch.allclose(still[:, :2], lines[:, :2], atol=1e-5)


def test_a_line_is_slanted_where_it_stands():
    """The middle stays, rows above and below go to opposite sides: the definition, pixel by pixel."""
    lines = torch.zeros(60, 1, 21)
    lines[30, 0] = 1
    augment = LineAugment(slant=1, shift=0, scale=0, sway=0, blots=False, noise=0, strength=0)
    torch.manual_seed(3)
    found = augment(lines, torch.tensor([60]))[:, 0]
    places = (found * torch.arange(60.0)[:, None]).sum(0) / found.sum(0)
    assert places[10] == pytest.approx(30, abs=1e-3)
    steps = places.diff()
    assert steps.abs().min() > 0.01
    assert torch.allclose(steps, steps[0].expand_as(steps), atol=1e-3)
