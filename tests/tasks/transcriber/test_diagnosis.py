"""The report of a transcriber: how far its gradient reaches, and which characters it takes for which."""

import torch

from gateflow.tasks.diagnosis import confusion_table
from gateflow.tasks.transcriber.diagnosis import compared, confusion_of, diagnose_run
from gateflow.tasks.transcriber.loading import load
from gateflow.tasks.transcriber.measures import characters_taken


def test_gradients_reach_back_and_confusions_are_counted(reader, images):
    report = diagnose_run(reader)
    (table,) = report.tables
    assert set(table.rows) >= {"a", "b", "c"}
    right = sum(
        table.counts[i][table.columns.index(name)] for i, name in enumerate(table.rows) if name in table.columns
    )
    assert right > 0.8 * sum(map(sum, table.counts))
    assert diagnose_run(reader, images[1]).reach.horizon == report.reach.horizon


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
