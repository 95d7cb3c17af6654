"""What `diagnose` and `compare` say of a translator: both layers are looked at, and attention is drawn."""

import pytest

from gateflow.cli import main
from gateflow.flow.report.page import content
from gateflow.tasks.translator.diagnosis import compared, diagnose_run
from gateflow.tasks.translator.loading import load_model, load_vocabularies


def test_both_layers_and_attention(trained, tmp_path):
    report = diagnose_run(trained)
    assert {name.partition(".")[0] for name in report.reach.layers} == {"encoder", "decoder"}
    # Each layer is labelled with what it has read itself.
    tokens = report.context["tokens"]
    assert (tokens["encoder"][-1], tokens["decoder"][0]) == ("<end>", "<start>")
    vocabularies = load_vocabularies(trained)
    words = {"encoder": vocabularies.source, "decoder": vocabularies.target}
    assert {*tokens["encoder"][:-1]} <= {*words["encoder"].tokenizer.get_vocab()}
    assert {*tokens["decoder"][1:]} <= {*words["decoder"].tokenizer.get_vocab()}
    drawn = {figure.title: list(figure.labels) for figure in content(report).sections[0].figures}
    assert drawn == {name: tokens[name.partition(".")[0]] for name in report.reach.layers}
    (table,) = report.tables
    assert table.columns[-1] == table.rows[-1] == "<end>"
    assert all(990 < sum(row) < 1010 for row in table.counts)
    assert "What attention looks at" in report.save(tmp_path / "page.html").read_text(encoding="utf-8")


def test_what_a_comparison_is_told(trained):
    model = load_model(trained, load_vocabularies(trained))
    found = compared(trained, model)
    layers = (model.encoder.recurrent, model.decoder.recurrent)
    assert found.parameters == sum(weight.numel() for layer in layers for weight in layer.parameters())
    assert (found.longest, found.target) == (5, "token")


def test_cells_are_compared_on_it(files, capsys):
    words = ["compare", "--task", "translator", "--data", str(files[0]), "--cells", "gru,lstm", "--updates", "2"]
    words += ["--tokenizer", "char", "--target-tokenizer", "word", "--hidden-size", "8", "--embedding-size", "8"]
    with pytest.raises(SystemExit, match="0"):
        main([*words, "--batch-size", "4"])
    out = capsys.readouterr().out
    assert "µs per token" in out
    assert "validation edits per token" in " ".join(out.split())
