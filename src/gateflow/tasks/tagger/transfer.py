"""A tagger begins from a language model of the same user: its word vectors, and its layers as forward directions."""

from __future__ import annotations

from pathlib import Path

import torch

from gateflow.data.tokenizer import END_OF_LINE, UNKNOWN, splits_into_words
from gateflow.errors import ConfigError, DataError
from gateflow.runs.trust import Trust
from gateflow.tasks.language_model.config import LanguageModelConfig
from gateflow.tasks.language_model.loading import load_model, load_tokenizer
from gateflow.tasks.language_model.model import LanguageModel
from gateflow.tasks.language_model.run import LanguageModelRun
from gateflow.tasks.tagger import batches
from gateflow.tasks.tagger.config import TaggerNetworkConfig
from gateflow.tasks.tagger.model import TaggerModel
from gateflow.tasks.tagger.vectors import give_vectors
from gateflow.tasks.tagger.vocabulary import Vocabulary

__all__ = ["begin_from_language_model"]


def begin_from_language_model(
    model: TaggerModel, config: TaggerNetworkConfig, vocabulary: Vocabulary, path: Path
) -> int:
    """Give a tagger the word vectors of a language model, and its layers to the forward directions of the same layers.

    A layer of a tagger reads more than one of a language model: the first one characters too, the others both
    directions. Their weights for that stay as they are, as do words that the language model does not know and layers
    that it does not have.

    Args:
        model: what `config` describes, with its initial weights.
        config: of the tagger's network.
        vocabulary: the words of the tagger.
        path: the run of the language model; it is not needed afterwards.

    Returns:
        How many words have a vector.

    Raises:
        RunError: there is no run, one that has not been validated yet, or a damaged one.
        ConfigError: it is no language model of words, or one of another cell or size.
        DataError: it knows none of the words.

    Warns:
        DataWarning: it knows hardly any of the words.

    Source: Peters, Ammar, Bhagavatula, Power (2017). Semi-supervised sequence tagging with bidirectional language
    models. ACL. arXiv:1705.00108; there the language model stays beside the tagger, here it is where it begins.
    """
    # Who has named a cell for the tagger lets its code run; a run of any other cell is refused before it is opened.
    run = LanguageModelRun.open(path, Trust(typed=config.cell))
    _refuse_other_task(run)
    # Read as text: `run.config` would ask to trust a cell that does not fit anyway.
    _refuse_other_network(path, LanguageModelConfig.read(run.config_file), config)
    tokenizer = load_tokenizer(run)
    if not splits_into_words(tokenizer):
        raise ConfigError(
            f"--from-lm {path}: its tokens are characters or parts of words, and a tagger needs vectors of words; take "
            "a language model trained with --tokenizer word."
        )
    known = shared_words(vocabulary, tokenizer.get_vocab())
    if not known:
        raise DataError(
            f"--from-lm {path} knows none of the {len(vocabulary.words):,} words; take a language model of their "
            "language, or leave it out."
        )
    source = load_model(run)
    _copy_layers(model, source, path)
    rows = source.embedding.weight.detach()[torch.tensor(list(known.values()))]
    return give_vectors(model, list(known), rows, path)


def shared_words(vocabulary: Vocabulary, tokens: dict[str, int]) -> dict[int, int]:
    """The numbers of a tagger's words with the numbers they have in a language model, the most frequent form's.

    Example:
        >>> shared_words(Vocabulary(("teddy", "bear"), (), ()), {"<unk>": 0, "Teddy": 3, "TEDDY": 9, "log": 1})
        {1: 3}
    """
    found: dict[int, int] = {}
    # The smallest number belongs to the most frequent.
    for token, number in sorted(tokens.items(), key=lambda entry: entry[1]):
        word = vocabulary.word(token)
        if word != batches.UNKNOWN and token not in (UNKNOWN, END_OF_LINE):
            found.setdefault(word, number)
    return found


def _refuse_other_task(run: LanguageModelRun) -> None:
    if (task := run.task()) != "lm":
        raise ConfigError(
            f"--from-lm {run.path} is a run of the task {task!r:.80}; name one that `gateflow train lm` has made."
        )


def _refuse_other_network(path: Path, found: LanguageModelConfig, config: TaggerNetworkConfig) -> None:
    """Refuse a network whose weights do not fit, and say which options make them fit."""
    options = {"--cell": "cell", "--embedding-size": "embedding_size", "--hidden-size": "hidden_size"}
    theirs, ours = ({o: getattr(part, name) for o, name in options.items()} for part in (found.model, config))
    differ = [option for option in options if theirs[option] != ours[option]]
    if differ:
        # A name out of a file may be a megabyte long.
        has, remedy = (mark.join(f"{o} {theirs[o]!s:.80}" for o in differ) for mark in (", ", " "))
        asked = ", ".join(f"{o} {ours[o]}" for o in differ)
        raise ConfigError(f"--from-lm {path} has {has}, and this tagger {asked}; make them equal with {remedy}.")


@torch.no_grad()
def _copy_layers(model: TaggerModel, source: LanguageModel, path: Path) -> None:
    for k in range(min(model.recurrent.num_layers, source.recurrent.num_layers)):
        # Of a tagger's layer the first cell, which reads forwards as the language model's only one does.
        ours, theirs = model.recurrent.layer_cells(k)[0], source.recurrent.layer_cells(k)[0]
        own = dict(ours.named_parameters())
        for name, weight in theirs.named_parameters():
            if own[name].shape == weight.shape:
                own[name].copy_(weight)
            elif weight.shape[1:] == (theirs.input_size,) and own[name].shape == (len(weight), ours.input_size):
                # Embeddings come before characters, and the forward direction before the one from the end.
                own[name][:, : theirs.input_size] = weight
            else:
                raise ConfigError(
                    f"--from-lm {path}: {name} of this cell has the shape {list(weight.shape)} there and "
                    f"{list(own[name].shape)} in layer {k + 1} of a tagger, which reads more; add --characters none "
                    "and --layers 1, or take another cell for both."
                )
