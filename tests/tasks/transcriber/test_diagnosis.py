"""The report of a transcriber: how far its gradient reaches, and which characters it takes for which."""

from dataclasses import replace
from io import BytesIO

import numpy as np
import torch
from PIL import Image

from gateflow.tasks.diagnosis import confusion_table
from gateflow.tasks.transcriber.data import own_lines
from gateflow.tasks.transcriber.diagnosis import compared, confusion_of, diagnose_run, worst_lines
from gateflow.tasks.transcriber.evaluation import measured
from gateflow.tasks.transcriber.loading import load
from gateflow.tasks.transcriber.measures import characters_taken
from gateflow.tasks.transcriber.prediction import predict


def test_gradients_reach_back_and_confusions_are_counted(reader, images):
    report = diagnose_run(reader)
    (table,) = report.tables
    assert set(table.rows) >= {"a", "b", "c"}
    right = sum(
        table.counts[i][table.columns.index(name)] for i, name in enumerate(table.rows) if name in table.columns
    )
    assert right > 0.8 * sum(map(sum, table.counts))
    assert diagnose_run(reader, images[1]).reach.horizon == report.reach.horizon


def test_the_worst_lines_are_shown_with_their_pictures(reader, tmp_path):
    learnt, lines = load(reader), own_lines(reader, "valid")
    # Wrong texts make lines wrong.
    wrong = [replace(lines[0], label="<b>ccc</b>"), *lines[1:]]
    found = worst_lines(measured(learnt.alphabet, wrong, list(predict(learnt, wrong)), []), wrong)
    assert (found.items[0].name, found.items[0].words[0]) == (lines[0].name, ("right", "<b>ccc</b>"))
    with Image.open(BytesIO(found.items[0].picture)) as picture:
        assert picture.size == (len(lines[0]), 24)
        assert np.array_equal(255 - np.asarray(picture).T, lines[0].values)
    report = replace(diagnose_run(reader), excerpts=(found,))
    text = report.save(tmp_path / "report.html").read_text()
    assert "The worst lines" in text
    assert "&lt;b&gt;ccc&lt;/b&gt;" in text
    assert f'<img src="{found.items[0].source}"' in text
    assert report.to_dict()["excerpts"][0]["items"][0]["right"] == "<b>ccc</b>"


def test_what_is_missing_has_a_name():
    found = confusion_of(characters_taken(["a b", "ab"], ["ab", "acb"]))
    assert (found.rows, found.columns) == (("space", "a", "b", "nothing"), ("a", "b", "c", "nothing"))
    assert found.counts == ((0, 0, 0, 1), (2, 0, 0, 0), (0, 2, 0, 0), (0, 0, 1, 0))
    assert confusion_table(found, "characters").counts == found.counts


def test_cells_can_be_compared(reader):
    torch.manual_seed(0)
    found = compared(reader, load(reader).model)
    assert found.target == "character"
    assert found.horizon is not None
    assert found.parameters == sum(x.numel() for x in load(reader).model.recurrent.parameters())
