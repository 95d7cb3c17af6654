"""Series out of files: every format, and what is said about broken ones."""

import contextlib
import csv
import gzip
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateflow.data.series import Series, read_series
from gateflow.data.series.table import Columns
from gateflow.errors import DataError

VOWELS = Path("../shared/data/japanese-vowels/JapaneseVowels_TRAIN.ts.gz")

TS = """# two men
@problemName Vowels
@timeStamps false
@univariate false
@dimensions 2
@classLabel true a b
@data
1,2,3:4,?,6:a
-1.5e1,2:NaN,0:b
"""


def write(tmp_path, content, name="series.txt"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def refused(path, **options):
    with pytest.raises(DataError) as caught:
        list(read_series(path, **options))
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message.removeprefix(str(path))


def same(found: Series, values, label=None):
    np.testing.assert_array_equal(found.values, np.array(values, dtype=np.float32))
    assert found.values.dtype == np.float32
    assert found.label == label


class TestTs:
    def test_channels_become_columns_and_missing_values_nan(self, tmp_path):
        first, second = read_series(write(tmp_path, TS))
        same(first, [[1, 4], [2, np.nan], [3, 6]], "a")
        same(second, [[-15, np.nan], [2, 0]], "b")
        assert first.place == "line 8"
        assert first.times is None

    @pytest.mark.parametrize(
        "change", [lambda t: "\ufeff" + t, lambda t: t.replace("\n", "\r\n"), lambda t: t + "\n\n"]
    )
    def test_marks_and_line_ends_change_nothing(self, tmp_path, change):
        assert [s.label for s in read_series(write(tmp_path, change(TS)))] == ["a", "b"]

    def test_gzip(self, tmp_path):
        assert len(list(read_series(write(tmp_path, gzip.compress(TS.encode()))))) == 2

    def test_times(self, tmp_path):
        text = "@timeStamps true\n@classLabel true x\n@data\n(0,1),(0.5,2):(0,3),(0.5,?):x\n"
        (found,) = read_series(write(tmp_path, text))
        same(found, [[1, 3], [2, np.nan]], "x")
        assert found.times.tolist() == [0.0, 0.5]

    def test_dates_with_colons(self, tmp_path):
        text = "@timeStamps true\n@classLabel true x\n@data\n(1970-01-01 00:00:10,1),(1970-01-01 00:01:00,2):x\n"
        (found,) = read_series(write(tmp_path, text))
        assert found.times.astype("datetime64[s]").astype(int).tolist() == [10, 60]

    def test_without_labels(self, tmp_path):
        (found,) = read_series(write(tmp_path, "@classLabel false\n@data\n1,2\n"))
        same(found, [[1], [2]])

    def test_of_a_regression(self, tmp_path):
        (found,) = read_series(write(tmp_path, "@targetLabel true\n@data\n1,2:0.75\n"))
        same(found, [[1], [2]], "0.75")

    @pytest.mark.parametrize(
        ("old", "new", "told"),
        [
            ("1,2,3:4,?,6:a", "1,2,3:4,x,6:a", ", line 8: 'x' is no number"),
            ("1,2,3:4,?,6:a", "1,2,3:4,1_0,6:a", ", line 8: '1_0' is no number"),
            ("1,2,3:4,?,6:a", "1,2,3:4,inf,6:a", ", line 8: 'inf' is infinite"),
            ("1,2,3:4,?,6:a", "1,2,3:4,1e39,6:a", "more than float32 can hold"),
            ("1,2,3:4,?,6:a", "1,2,3:4,5:a", ", line 8: channels of 2 to 3 values"),
            ("1,2,3:4,?,6:a", "1,2,3:a", ", line 8: 1 channels, and 2 were expected"),
            ("1,2,3:4,?,6:a", "1,2,3:4,?,6:c", "the label 'c' is none of those"),
            ("1,2,3:4,?,6:a", "1,2,3:4,?,6:", "the label is missing"),
            ("@dimensions 2", "@dimensions two", ", line 5: after @dimensions stands a number"),
            ("@timeStamps false", "@timeStamps perhaps", ", line 3: after @timeStamps".lower()),
            ("@timeStamps false", "@timeStamps true", "is written (time,value)"),
            ("@data", "data", "is no line of a header"),
            ("\n1,2,3:4,?,6:a\n-1.5e1,2:NaN,0:b\n", "\n", "no case after @data"),
        ],
    )
    def test_broken_files_are_refused_by_line(self, tmp_path, old, new, told):
        assert TS.count(old) == 1
        assert told.lower() in refused(write(tmp_path, TS.replace(old, new))).lower()

    def test_a_header_without_data(self, tmp_path):
        assert "no line @data" in refused(write(tmp_path, TS.partition("@data")[0]))

    def test_times_that_fall(self, tmp_path):
        text = "@timeStamps true\n@classLabel false\n@data\n(1,1),(0.5,2)\n"
        assert "step 2 is earlier" in refused(write(tmp_path, text))

    @pytest.mark.skipif(not VOWELS.exists(), reason="the corpus lies outside the project")
    def test_a_real_file(self):
        found = list(read_series(VOWELS))
        assert len(found) == 270
        assert {s.channels for s in found} == {12}
        assert (min(map(len, found)), max(map(len, found))) == (7, 26)
        assert {s.label for s in found} == set("123456789")


TABLE = "series,time,x,y,label\nb,2,5,6,down\na,1,1,2,up\nb,1,3,,down\na,4,7,8,up\n"


class TestTable:
    def test_rows_of_a_series_are_sorted_by_time(self, tmp_path):
        b, a = read_series(write(tmp_path, TABLE))
        same(b, [[3, np.nan], [5, 6]], "down")
        same(a, [[1, 2], [7, 8]], "up")
        assert (b.name, b.times.tolist(), a.times.tolist()) == ("b", [1, 2], [1, 4])

    @pytest.mark.parametrize("separator", ";\t")
    def test_other_separators(self, tmp_path, separator):
        assert [s.name for s in read_series(write(tmp_path, TABLE.replace(",", separator)))] == ["b", "a"]

    def test_columns_by_name(self, tmp_path):
        columns = Columns(series="time", label="label", channels=("y",))
        text = TABLE.replace("a,1,1,2,up\n", "")
        assert [(s.name, s.values.tolist()) for s in read_series(write(tmp_path, text), columns=columns)] == [
            ("2", [[6.0]]),
            ("1", [[pytest.approx(np.nan, nan_ok=True)]]),
            ("4", [[8.0]]),
        ]

    def test_a_label_per_step_goes_with_its_step(self, tmp_path):
        text = "time,x,label\n3,30,c\n1,10,a\n2,20,b\n"
        (found,) = read_series(write(tmp_path, text), columns=Columns(per_step=True))
        assert found.step_labels == ("a", "b", "c")
        assert found.values[:, 0].tolist() == [10, 20, 30]
        assert found.label is None
        assert found.name is None

    def test_dates_and_quotes(self, tmp_path):
        text = 'id,date,"a, b"\n"x,1",1970-01-02T00:00Z,"1.5"\n"x,1",1970-01-01T00:00:01Z,2\n'
        (found,) = read_series(write(tmp_path, text))
        assert found.times.astype("datetime64[s]").astype(int).tolist() == [1, 86400]
        assert (found.name, found.channel_names, found.values[:, 0].tolist()) == ("x,1", ("a, b",), [2, 1.5])

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            (TABLE.replace("a,4,7,8,up", "a,4,7,8"), ", line 5: 4 cells"),
            (TABLE.replace("a,4,7,8,up", "a,4,7,8,down"), "series 'a' (from line 3): two labels"),
            (TABLE.replace("a,4,7,8,up", "a,4,seven,8,up"), "'seven' is no number"),
            (TABLE.replace("a,4,7,8,up", "a,soon,7,8,up"), "'soon' is no time"),
            (TABLE.replace("a,4,7,8,up", "a,,7,8,up"), "is no time"),
            (TABLE.replace("time,x", "x,x"), "the column 'x' twice"),
            ("series,time,label\na,1,up\n", "no column of numbers"),
            ("series,x\n", "no rows below"),
            ('series,x\na,"' + "1" * 140_000 + '"\n', "is no table"),
            ("series,time,x\na,9999-12-31T23:59-05:00,1\n", "is no time"),
            ("x\n1000000001\n1000000002\n1000000004\n", "float32 does not tell apart"),
            ("series,x\n\n \n", "no rows below"),
        ],
    )
    def test_broken_tables_are_refused(self, tmp_path, text, told):
        assert told in refused(write(tmp_path, text))

    def test_a_column_that_is_not_there(self, tmp_path):
        assert "no column 'z'" in refused(write(tmp_path, TABLE), columns=Columns(channels=("z",)))


class TestArrays:
    def test_all_that_can_stand_beside(self, tmp_path):
        x = np.arange(12).reshape(2, 3, 2)
        times = np.array([[0, 1, 2], [5, 5, 0]])
        np.savez(tmp_path / "a.npz", x=x, y=np.array([3, 7]), lengths=[3, 2], times=times)
        first, second = read_series(tmp_path / "a.npz")
        same(first, x[0], "3")
        same(second, x[1, :2], "7")
        assert second.times.tolist() == [5, 5]
        assert second.place == "case 2"

    def test_labels_of_steps(self, tmp_path):
        np.savez(tmp_path / "a.npz", x=np.zeros((2, 3)), y=np.array([["a", "b", "c"], ["d", "e", "f"]]), lengths=[2, 3])
        assert [s.step_labels for s in read_series(tmp_path / "a.npz")] == [("a", "b"), ("d", "e", "f")]

    def test_one_array_alone(self, tmp_path):
        np.save(tmp_path / "a.npy", np.array([[1.5, np.nan]]))
        (found,) = read_series(tmp_path / "a.npy")
        same(found, [[1.5], [np.nan]])

    @pytest.mark.parametrize(
        ("arrays", "told"),
        [
            ({"z": np.zeros((2, 3))}, "no array x, only z"),
            ({"x": np.zeros(3)}, "of shape [3]"),
            ({"x": np.zeros((0, 3))}, "of shape [0, 3]"),
            ({"x": np.array([["a"]])}, "series are numbers"),
            ({"x": np.zeros((2, 3)), "y": [1, 2, 3]}, "y is int64 of shape [3], and x needs [2]"),
            ({"x": np.zeros((2, 3)), "lengths": [4, 1]}, "case 1: a length of 4"),
            ({"x": np.zeros((2, 3)), "lengths": [1, 0]}, "case 2: a length of 0"),
            ({"x": np.zeros((2, 3)), "lengths": [1.0, 2.0]}, "lengths is float64, and whole numbers are needed"),
            ({"x": np.array([[0, np.inf]])}, "step 2, channel 1 is infinite"),
            ({"x": np.array([[object()]])}, "only pickle could read"),
        ],
    )
    def test_what_does_not_fit(self, tmp_path, arrays, told):
        np.savez(tmp_path / "a.npz", **arrays)
        assert told in refused(tmp_path / "a.npz")

    def test_a_member_that_is_no_array(self, tmp_path):
        with zipfile.ZipFile(tmp_path / "a.npz", "w") as file:
            file.writestr("x", "hello")
        assert "no array x" in refused(tmp_path / "a.npz")

    def test_any_changed_byte_is_an_answer_in_words(self, tmp_path):
        np.savez_compressed(tmp_path / "a.npz", x=np.arange(12.0).reshape(2, 6), y=np.array(["a", "b"]))
        whole = (tmp_path / "a.npz").read_bytes()
        for place in range(0, len(whole), 3):
            changed = whole[:place] + bytes([whole[place] ^ 0x41]) + whole[place + 1 :]
            with contextlib.suppress(DataError):
                list(read_series(write(tmp_path, changed, "b.npz")))

    @pytest.mark.parametrize("kept", [6, 60, 150])
    def test_cut_short(self, tmp_path, kept):
        np.savez(tmp_path / "a.npz", x=np.zeros((20, 3)))
        path = write(tmp_path, (tmp_path / "a.npz").read_bytes()[:kept], "b.npz")
        assert "cannot be read as NumPy's arrays" in refused(path)


def idx(magic, shape, content):
    return struct.pack(f">{1 + len(shape)}i", magic, *shape) + bytes(content)


class TestIdx:
    IMAGES = idx(2051, (2, 2, 3), [0, 51, 255, 0, 0, 0, 255, 0, 0, 102, 0, 0])

    def test_labels_are_found_beside(self, tmp_path):
        images = write(tmp_path, gzip.compress(self.IMAGES), "t-images-idx3-ubyte.gz")
        write(tmp_path, gzip.compress(idx(2049, (2,), [7, 0])), "t-labels-idx1-ubyte.gz")
        first, second = read_series(images)
        same(first, np.array([[0, 0.2, 1], [0, 0, 0]], dtype=np.float32), "7")
        assert second.label == "0"
        assert second.place == "image 2"

    def test_pixels_in_order_and_in_another_that_is_the_same_for_all(self, tmp_path):
        images = write(tmp_path, self.IMAGES)
        pixels, permuted = (np.stack([s.values for s in read_series(images, order=o)]) for o in ("pixels", "permuted"))
        assert pixels.shape == (2, 6, 1)
        assert pixels[1, 3, 0] == np.float32(0.4)
        found = [tuple(column) for column in permuted[..., 0].T]
        assert sorted(found) == sorted(tuple(column) for column in pixels[..., 0].T)
        again = np.stack([s.values for s in read_series(images, order="permuted")])
        other = np.stack([s.values for s in read_series(images, order="permuted", seed=3)])
        assert np.array_equal(again, permuted)
        assert not np.array_equal(other, permuted)

    @pytest.mark.parametrize(
        ("content", "told"),
        [
            (IMAGES[:-1], "is damaged"),
            (IMAGES + b"\0", "is damaged"),
            (IMAGES[:9], "is damaged"),
            (idx(2051, (-1, 2, 3), []), "is damaged"),
            (idx(2051, (2**31 - 1, 2**31 - 1, 2**31 - 1), [1]), "is damaged"),
        ],
    )
    def test_damaged(self, tmp_path, content, told):
        assert told in refused(write(tmp_path, content))

    def test_another_number_of_labels(self, tmp_path):
        images, labels = write(tmp_path, self.IMAGES), write(tmp_path, idx(2049, (1,), [7]), "labels")
        with pytest.raises(DataError, match=r"has 1 labels, and .* has 2 images"):
            list(read_series(images, labels=labels))

    def test_labels_that_are_images(self, tmp_path):
        images = write(tmp_path, self.IMAGES)
        with pytest.raises(DataError, match="does not begin as an IDX file of labels"):
            list(read_series(images, labels=images))


def test_all_series_have_the_same_channels(tmp_path):
    text = "@classLabel true a\n@data\n1,2:3,4:a\n1,2:a\n"
    assert "line 4: 1 channels, and 2 in line 3" in refused(write(tmp_path, text))


@pytest.mark.parametrize("content", [b"", b"\n \n", b"\x00\x01\x02\x00", b"\xff\xfea\x00", b"a,b\n\xff,1\n"])
def test_what_is_no_text(tmp_path, content):
    refused(write(tmp_path, content))


def test_no_file(tmp_path):
    assert "does not exist" in refused(tmp_path / "none")


@given(
    st.lists(
        st.lists(st.floats(width=32, allow_infinity=False, allow_subnormal=False), min_size=2, max_size=2),
        min_size=1,
        max_size=9,
    )
)
def test_numbers_come_back_as_they_were_written(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("t") / "a.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["x", "y"], *rows])
    (found,) = read_series(path)
    np.testing.assert_array_equal(found.values, np.array(rows, dtype=np.float32))
