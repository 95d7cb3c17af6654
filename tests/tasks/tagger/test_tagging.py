"""What a tagger says of new text: places that fit the text, probabilities, the same answer in any batch."""

import json
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.tasks.tagger.sentences import sentences

from gateflow.data.spans import Span
from gateflow.data.tagged import TaggedSentence, read_tagged
from gateflow.errors import ConfigError
from gateflow.tasks.description import Given
from gateflow.tasks.tagger.decoding import Certainty, n_best_tags
from gateflow.tasks.tagger.encoding import EncodedSentences, encoded_batch
from gateflow.tasks.tagger.evaluation import evaluate, evaluate_run
from gateflow.tasks.tagger.loading import load_model, load_vocabulary
from gateflow.tasks.tagger.prediction import predict
from gateflow.tasks.tagger.tagging import tag_text
from gateflow.tasks.tagger.task import own_sentences


@pytest.fixture(scope="module")
def loaded(trained):
    vocabulary = load_vocabulary(trained)
    return load_model(trained, vocabulary), vocabulary


def tagged(trained, file, **options):
    options = {"conll": False, "nbest": 0, "batch_size": 64, **options}
    return list(tag_text(Given(trained), file, **options).items)


def test_entities_have_their_places_in_the_text(trained, tmp_path):
    text = "He said, “Teddy Roosevelt was a great President”.\n\nTeddy bears are on sale!\n어제 테디 루스벨트 는 왔다\n"
    file = tmp_path / "text"
    file.write_text(text, encoding="utf-8")
    lines = text.splitlines()
    answers = tagged(trained, file)
    assert [data["text"] for _, data in answers] == lines
    assert [data["line"] for _, data in answers] == [1, 2, 3, 4]
    found = [(e["text"], e["type"]) for _, d in answers for s in d["sentences"] for e in s["tag"]["entities"]]
    assert ("Teddy Roosevelt", "PER") in found
    for (shown, data), line in zip(answers, lines, strict=True):
        for sentence in data["sentences"]:
            for piece in sentence["words"] + sentence["tag"]["entities"]:
                assert line[piece["begin"] : piece["end"]] == piece["text"]
            for entity in sentence["tag"]["entities"]:
                assert 0 < entity["probability"] <= 1 + 1e-6
                assert f"{entity['begin']}\t{entity['end']}\tPER\t" in shown


@settings(max_examples=12)
@given(st.text(max_size=80))
def test_places_fit_whatever_the_text_is(trained, text):
    line = text.replace("\n", " ").replace("\r", " ")
    file = Path(trained.path.parent, "drawn.txt")
    file.write_text(
        f"Teddy\n{line.encode('utf-8', 'ignore').decode()}\n".replace("\x00", ""), encoding="utf-8", newline="\n"
    )
    for _, data in tagged(trained, file):
        for sentence in data["sentences"]:
            assert len(sentence["words"]) == len(sentence["tag"]["tags"]) == len(sentence["tag"]["probabilities"])
            assert all(data["text"][w["begin"] : w["end"]] == w["text"] for w in sentence["words"])


def test_columns_in_columns_out(trained, tmp_path):
    file = tmp_path / "in.conll"
    file.write_text("Teddy x\nRoosevelt y\ncame z\n\nRosa x\nbears y\n", encoding="utf-8")
    shown = [text for text, _ in tagged(trained, file, conll=True)]
    assert [[line.split("\t")[0] for line in text.splitlines()] for text in shown] == [
        ["Teddy", "Roosevelt", "came"],
        ["Rosa", "bears"],
    ]
    assert shown[0].splitlines()[0] == "Teddy\tB-PER"


def test_the_answer_is_the_same_in_any_batch_and_on_any_number_of_threads(loaded):
    model, vocabulary = loaded
    texts = [words for words, _ in sentences(60)] + [["Teddy"] * 90, ["x" * 300], []]
    before, found = torch.get_num_threads(), []
    try:
        for threads, size in ((1, 1), (1, 7), (1, 64), (2, 64), (3, 16)):
            torch.set_num_threads(threads)
            found.append(list(predict(model, vocabulary, texts, batch_size=size, probabilities=True)))
    finally:
        torch.set_num_threads(before)
    for others in found[1:]:
        for one, other in zip(found[0], others, strict=True):
            assert one["tag"].tags == other["tag"].tags
            assert one["tag"].probabilities == pytest.approx(other["tag"].probabilities, abs=1e-5)
    assert found[0][-1]["tag"].tags == []


def test_padding_is_never_seen(loaded):
    model, vocabulary = loaded
    rows = sorted((words for words, _ in sentences(40)), key=len)
    encoded = EncodedSentences(vocabulary, [TaggedSentence(tuple(words), {}, line=0) for words in rows])
    batch = encoded.batch(range(40))
    beyond = torch.arange(len(batch.words))[:, None] >= batch.lengths
    after = torch.arange(len(batch.spellings))[:, None] >= batch.spelled
    with torch.no_grad():
        wanted = model(batch)["tag"]
        batch.words[beyond], batch.spellings[after] = 3, 2
        batch.spelling_of[beyond] = 0
        found = model(batch)["tag"]
    assert torch.equal(found[~beyond], wanted[~beyond])


def test_what_evaluate_measures_is_what_tag_gives(trained, loaded, tmp_path):
    gold = own_sentences(trained, loaded[1], "valid")
    found = evaluate(*loaded, gold)
    file = tmp_path / "words"
    file.write_text("".join("".join(f"{w}\n" for w in s.words) + "\n" for s in gold), encoding="utf-8")
    given_ = [data["tag"]["tags"] for _, data in tagged(trained, file, conll=True)]
    assert given_ == [answer["tag"] for answer in found.answers]


def test_the_probability_of_an_entity_is_that_of_all_sequences_in_which_it_is(loaded):
    model, vocabulary = loaded
    (column,) = vocabulary.columns
    batch = encoded_batch(vocabulary, [TaggedSentence(("Teddy", "Roosevelt", "came"), {}, line=0)])
    crf = model.crf("tag")
    with torch.no_grad():
        scores = model(batch)["tag"]
        everything = torch.tensor(list(product(range(len(column.labels)), repeat=3))).T
        likely = crf.log_likelihood(scores.expand(-1, everything.shape[1], -1), everything).exp()
        tags = [["B-PER", "E-PER", "O"]]
        found = Certainty.of(model, column, scores, batch.lengths, tags).of_span(0, Span("PER", 0, 2))
    begin, end = column.numbers["B-PER"], column.numbers["E-PER"]
    wanted = likely[(everything[0] == begin) & (everything[1] == end)].sum()
    assert float(likely.sum()) == pytest.approx(1, abs=1e-5)
    assert found == pytest.approx(float(wanted), abs=1e-5)
    best = n_best_tags(model, column, scores, batch.lengths, 4)[0]
    assert [p for _, p in best] == pytest.approx(likely.sort(descending=True).values[:4].tolist(), abs=1e-5)


def test_several_sequences_are_told_and_take_a_crf(trained, tmp_path):
    file = tmp_path / "text"
    file.write_text("Teddy bears\n")
    ((_, data),) = tagged(trained, file, nbest=3)
    best = data["sentences"][0]["tag"]["nbest"]
    assert len(best) == 3
    assert best[0]["tags"] == data["sentences"][0]["tag"]["tags"]
    assert best[0]["probability"] >= best[1]["probability"] >= best[2]["probability"]
    ((shown, _),) = tagged(trained, file, nbest=3)
    assert [line.split("\t")[1] for line in shown.splitlines()[-3:]] == ["best 1", "best 2", "best 3"]
    file.write_text("Teddy\nbears\n")
    ((shown, _),) = tagged(trained, file, nbest=2, conll=True)
    assert [line[:8] for line in shown.splitlines()[:2]] == ["# best 1", "# best 2"]
    with pytest.raises(ConfigError, match="--nbest 5000: at most 1000"):
        tagged(trained, file, nbest=5000)


def test_lines_are_answered_as_they_come(trained):
    """A program that writes a line and waits for its answer gets it, before the pipe is closed."""
    command = [sys.executable, "-m", "gateflow", "tag", str(trained.path), "--json"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    ) as tagger:
        assert tagger.stdin is not None
        assert tagger.stdout is not None
        for line in ("Teddy Roosevelt came", "Teddy bears are open", "어제 테디 루스벨트 는 왔다"):
            tagger.stdin.write(line + "\n")
            tagger.stdin.flush()
            assert json.loads(tagger.stdout.readline())["text"] == line
        tagger.stdin.close()
        assert tagger.wait() == 0


def test_a_file_of_predictions_can_be_read_again(trained, tmp_path):
    file = tmp_path / "out.tsv"
    answer = evaluate_run(Given(trained), None, file, 64)
    gold, ours = zip(*((s.tags["2"], s.tags["3"]) for s in read_tagged(file, columns=["2", "3"])), strict=True)
    right = sum(a == b for x, y in zip(gold, ours, strict=True) for a, b in zip(x, y, strict=True))
    words = sum(map(len, gold))
    assert right / words == pytest.approx(answer.json["columns"]["tag"]["accuracy"])
    with pytest.raises(ConfigError, match="is a file of --data"):
        evaluate_run(Given(trained), file, file, 64)
