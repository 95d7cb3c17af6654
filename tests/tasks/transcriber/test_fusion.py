"""A language model beside the network: it decides between texts, and one of another alphabet is refused."""

import pytest
from safetensors.torch import save_file
from tests.tasks.transcriber.lines import texts

from gateflow.errors import ConfigError, DataWarning
from gateflow.runs.weights import unique_tensors
from gateflow.tasks.description import Given
from gateflow.tasks.language_model.config import LanguageModelConfig
from gateflow.tasks.language_model.data import set_up
from gateflow.tasks.language_model.loading import load_tokenizer
from gateflow.tasks.language_model.model import LanguageModel
from gateflow.tasks.transcriber.alphabet import Alphabet
from gateflow.tasks.transcriber.data import own_lines
from gateflow.tasks.transcriber.evaluation import evaluate, evaluate_run
from gateflow.tasks.transcriber.loading import load
from gateflow.tasks.transcriber.search import decoding_of

ASKED = {"data": None, "predictions": None, "skip_bad": False, "batch_size": 4}


def run_of(path, tokenizer, lines):
    """A run of a language model with the weights that it begins with, and the frequencies of its tokens."""
    file = path.with_suffix(".txt")
    file.write_text("\n".join(lines) + "\n")
    data = {"train": file, "valid": file, "tokenizer": tokenizer}
    config = LanguageModelConfig.build({"data": data, "model": {"hidden_size": 6, "embedding_size": 6, "layers": 2}})
    run = set_up(path, config)
    model = LanguageModel(load_tokenizer(run).get_vocab_size(), embedding_size=6, hidden_size=6, num_layers=2)
    save_file(unique_tensors(model), run.model_file)
    return run


def test_a_search_with_it_is_wired_to_the_verbs(reader, tmp_path):
    learnt, lines = load(reader), own_lines(reader, "valid")
    for tokenizer in ("char", "word"):
        run = run_of(tmp_path / tokenizer, tokenizer, texts(200))
        decoding = decoding_of(learnt.alphabet, None, 1, run.path, 0.25, 0.5)
        assert (decoding.beam, decoding.lm_weight, decoding.insertion) == (16, 0.25, 0.5)
        found = evaluate(learnt, lines, decoding=decoding)
        told = evaluate_run(Given(reader), beam=None, lm=run.path, lm_weight=0.25, insertion=0.5, **ASKED)
        assert told.json["cer"] == found.cer
        # With no weight it is the search alone.
        alone = evaluate(learnt, lines, decoding=decoding_of(learnt.alphabet, 16, 1, None, 0.5, 0.0))
        without = evaluate(learnt, lines, decoding=decoding_of(learnt.alphabet, 16, 1, run.path, 0.0, 0.0))
        assert [x.text for x in alone.answers] == [x.text for x in without.answers]


def test_what_does_not_fit_is_told(reader, tmp_path):
    alphabet = Alphabet.of(["a b c"])

    def asked(run, characters=alphabet, beam=None):
        return decoding_of(characters, beam, 1, run.path, 0.5, 0.0)

    with pytest.raises(ConfigError, match="no text in common with the network"):
        asked(run_of(tmp_path / "lm", "char", ["xyz"] * 100), Alphabet.of(["abc"]))
    with pytest.warns(DataWarning, match="does not know 1 of the network's characters"):
        asked(run_of(tmp_path / "cab", "char", ["cab"] * 200))
    with pytest.raises(ConfigError, match="pieces of words"):
        asked(run_of(tmp_path / "bpe", "bpe", texts(400)))
    with pytest.raises(ConfigError, match="is a run of the task 'transcriber'"):
        asked(reader)
    with pytest.raises(ConfigError, match="no space to end them"):
        asked(run_of(tmp_path / "words", "word", texts(200)), Alphabet.of(["abc"]))
    with pytest.raises(ConfigError, match="--beam 0 makes none"):
        asked(reader, beam=0)
