"""Which kernel a layer of torch's runs on: as measured, by the nearest figure, and by no file that is not whole."""

import json
import math
import os

import pytest
from benchmarks import tables

from gateflow.backends.cuda import measured
from gateflow.backends.cuda.measured import Figure, Measured, faster_elsewhere, keep, measured_on

H200 = "NVIDIA H200"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty one, and nothing remembered of another."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("GATEFLOW_CACHE", str(folder))
    measured_on.cache_clear()
    faster_elsewhere.cache_clear()
    yield folder
    measured_on.cache_clear()
    faster_elsewhere.cache_clear()


def test_what_is_shipped_is_what_was_measured():
    files = sorted(tables.RESULTS.glob("*.json"))
    made = {file.name: tables.table(json.loads(file.read_text(encoding="utf-8"))) for file in files}
    shipped = {file.name: file.read_text(encoding="utf-8") for file in measured.SHIPPED.glob("*.json")}
    assert shipped == {name: measured.text_of(table) for name, table in made.items() if table is not None}
    assert shipped


@pytest.mark.parametrize(
    ("cell", "precision", "units", "samples", "faster"),
    [
        ("LSTM", "float32", 128, 16, True),
        ("LSTM", "float32", 100, 1, True),  # as with 16: weights fit on the chip, whatever the batch
        ("ProjectedLSTM", "float32", 128, 16, True),
        ("LSTM", "float32", 512, 1, False),
        ("LSTM", "float32", 512, 64, False),
        ("LSTM", "float32", 512, 128, True),  # between 64 and 256: as with the larger
        ("LSTM", "float32", 1024, 256, True),  # nearer to 512 units with 256 samples than to 1024 with 16
        ("LSTM", "float32", 1024, 16, False),
        ("LSTM", "tf32", 1024, 16, True),
        ("LSTM", "bfloat16", 128, 16, False),
        ("LSTM", "bfloat16", 512, 256, True),
        ("GRU", "bfloat16", 512, 256, False),
        ("LSTM", "float32", 128, None, True),
        ("LSTM", "float32", 512, None, False),  # with few samples ours took less time
        ("PeepholeLSTM", "float32", 128, 16, False),
        ("LSTM", "float32", 128, 0, True),
    ],
)
def test_the_nearest_figure_decides(cell, precision, units, samples, faster):
    assert (faster_elsewhere(H200, cell, precision, units, samples) is not None) == faster


def test_a_card_without_a_table_says_whose_was_taken_and_how_to_have_its_own():
    said = faster_elsewhere("NVIDIA A100-SXM4-80GB", "LSTM", "float32", 128, 16)
    assert said is not None
    assert "measured on NVIDIA H200" in said
    assert "for NVIDIA A100-SXM4-80GB: gateflow bench --tune" in said
    assert "--tune" not in str(faster_elsewhere(H200, "LSTM", "float32", 128, 16))


def test_the_table_of_this_machine_goes_first(cache):
    before = faster_elsewhere(H200, "LSTM", "float32", 128, 16)
    path = keep(Measured(H200, "2.13.0", (Figure("LSTM", "float32", 128, 16, 2.0, 4.0),)))
    assert (path.parent, path.stat().st_mode & 0o777) == (cache, 0o600)
    assert before is not None
    assert faster_elsewhere(H200, "LSTM", "float32", 128, 16) is None
    # Of another card nothing has changed.
    assert faster_elsewhere("NVIDIA L4", "LSTM", "float32", 128, 16) is not None
    assert measured_on(H200).torch == "2.13.0"


GOOD = ["LSTM", "float32", 128, 16, 2.0, 4.0]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        '{"card": "NVIDIA H200", "torch": "2.13.0", "figures": []}',
        *(
            json.dumps({"card": H200, "torch": "2.13.0", "figures": [row]})
            for row in (
                GOOD[:5],
                [*GOOD, 1],
                {"cell": 1},
                ["LSTM", "float64", *GOOD[2:]],
                [*GOOD[:2], 0, *GOOD[3:]],
                [*GOOD[:2], True, *GOOD[3:]],
                [*GOOD[:3], 1 << 40, *GOOD[4:]],
                [*GOOD[:4], 0, 4.0],
                [*GOOD[:4], math.nan, 4.0],
                [*GOOD[:4], math.inf, 4.0],
                [*GOOD[:4], "2", 4.0],
                [7, *GOOD[1:]],
                7,
            )
        ),
        json.dumps({"card": "NVIDIA A100", "torch": "2.13.0", "figures": [GOOD]}),
        json.dumps({"card": H200, "torch": 2, "figures": [GOOD]}),
        "[" * 100_000,
        json.dumps({"card": H200, "torch": " " * (1 << 20), "figures": [GOOD]}),
    ],
    ids=lambda text: text[:60],
)
def test_a_file_that_is_no_whole_table_is_as_none(content):
    shipped = measured_on(H200)
    path = keep(Measured(H200, "2.13.0", (Figure(*GOOD),)))
    assert measured_on(H200) != shipped
    path.write_text(content, encoding="utf-8")
    measured_on.cache_clear()
    assert measured_on(H200) == shipped


def test_what_others_could_have_written_is_not_read():
    shipped = measured_on(H200)
    path = keep(Measured(H200, "2.13.0", (Figure(*GOOD),)))
    os.chmod(path, 0o666)
    measured_on.cache_clear()
    assert measured_on(H200) == shipped
