"""A language model beside the network: its numbers are the run's own, and one of another alphabet is refused."""

import pytest
import torch
from safetensors.torch import save_file
from tests.tasks.transcriber.lines import texts

from gateflow.data.tokenizer import END_OF_LINE
from gateflow.errors import ConfigError, DataWarning
from gateflow.runs.weights import unique_tensors
from gateflow.tasks.language_model.config import LanguageModelConfig
from gateflow.tasks.language_model.data import set_up as set_up_language_model
from gateflow.tasks.language_model.loading import load_model, load_tokenizer
from gateflow.tasks.language_model.model import LanguageModel
from gateflow.tasks.transcriber.alphabet import Alphabet
from gateflow.tasks.transcriber.data import own_lines
from gateflow.tasks.transcriber.evaluation import evaluate
from gateflow.tasks.transcriber.fusion import CharacterModel, WordModel, decoding_of, language_model
from gateflow.tasks.transcriber.loading import load

ALPHABET = Alphabet.of(["a b c"])


def run_of(path, tokenizer, lines):
    """A run of a language model with the weights that it begins with."""
    file = path.with_suffix(".txt")
    file.write_text("\n".join(lines) + "\n")
    data = {"train": file, "valid": file, "tokenizer": tokenizer}
    config = LanguageModelConfig.build({"data": data, "model": {"hidden_size": 6, "embedding_size": 6, "layers": 2}})
    run = set_up_language_model(path, config)
    model = LanguageModel(load_tokenizer(run).get_vocab_size(), embedding_size=6, hidden_size=6, num_layers=2)
    save_file(unique_tensors(model), run.model_file)
    return run


def test_each_character_has_the_probability_that_the_run_gives_it(tmp_path):
    run = run_of(tmp_path / "lm", "char", texts(200))
    model, vocabulary = load_model(run), load_tokenizer(run).get_vocab()
    ours = language_model(run.path, ALPHABET)
    assert isinstance(ours, CharacterModel)
    text = "ab ca"
    numbers = torch.tensor([vocabulary["\n"], *(vocabulary[x] for x in text)])[:, None]
    with torch.no_grad():
        wanted = model.scores(model.hidden(numbers)[0]).log_softmax(-1)[:, 0]
    scores, state = ours.start(3)
    for k, character in enumerate(["", *text]):
        if character:
            scores, state = ours.advance(state, torch.tensor([ALPHABET.classes[character]] * 3))
        columns = [vocabulary["\n"], *(vocabulary[x] for x in ALPHABET.characters)]
        assert torch.allclose(scores, wanted[k, columns].expand(3, -1), atol=1e-5)


def test_a_word_falls_due_with_the_space_behind_it(tmp_path):
    run = run_of(tmp_path / "lm", "word", texts(200))
    model, vocabulary = load_model(run), load_tokenizer(run).get_vocab()
    ours = language_model(run.path, ALPHABET)
    assert isinstance(ours, WordModel)
    # Two rows that go apart: "ab a" and "x" where x is unknown.
    rows = ["ab a", "ac b"]
    scores, state = ours.start(2)
    assert not scores.any()
    total = torch.zeros(2)
    for k in range(4):
        classes = torch.tensor([ALPHABET.classes[row[k]] for row in rows])
        total += scores.gather(1, classes[:, None])[:, 0]
        scores, state = ours.advance(state, classes)
        if k == 1:
            state = state.select(torch.tensor([0, 1])).join(state.select(torch.tensor([1])))
            state = state.select(torch.tensor([0, 2]))
    total += scores[:, 0]
    for i, row in enumerate(rows):
        words = [vocabulary.get(word, vocabulary["<unk>"]) for word in row.split()]
        with torch.no_grad():
            hidden, _ = model.hidden(torch.tensor([vocabulary[END_OF_LINE], words[0]])[:, None])
            log_probs = model.scores(hidden).log_softmax(-1)[:, 0]
        assert total[i].item() == pytest.approx(sum(log_probs[k, w].item() for k, w in enumerate(words)), abs=1e-4)


def test_it_decides_where_the_network_does_not(reader, tmp_path):
    """With all weight on a language model that has only ever seen one text, that text is read."""
    run = run_of(tmp_path / "lm", "char", ["cab"] * 200)
    learnt, lines = load(reader), own_lines(reader, "valid")
    with pytest.warns(DataWarning, match=r"does not know 1 of the 4 characters: ' '"):
        decoding = decoding_of(learnt.alphabet, None, 1, run.path, 0.3, 0.0)
    assert decoding.beam == 16
    found = evaluate(learnt, lines, decoding=decoding)
    assert 0 <= found.cer < 0.6


def test_a_model_of_another_alphabet_or_task_is_refused(reader, tmp_path):
    run = run_of(tmp_path / "lm", "char", ["xyz zyx"] * 100)
    with pytest.raises(ConfigError, match="does not know 3 of the 4 characters.* It is of another alphabet"):
        language_model(run.path, ALPHABET)
    parts = run_of(tmp_path / "bpe", "bpe", texts(400))
    with pytest.raises(ConfigError, match="its tokens are parts of words"):
        language_model(parts.path, ALPHABET)
    with pytest.raises(ConfigError, match="is a run of the task 'transcriber'"):
        language_model(reader.path, ALPHABET)
    words = run_of(tmp_path / "words", "word", texts(200))
    with pytest.raises(ConfigError, match="writes no spaces"):
        language_model(words.path, Alphabet.of(["abc"]))
