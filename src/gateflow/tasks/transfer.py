"""A task begins from a language model of the same user: its vectors of words, and its layers as forward directions.

Whoever reads words may begin so. That is why this lies here, and in the folder of no task.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import torch
from tokenizers import Tokenizer
from torch import nn

from gateflow.data.tokenizer import END_OF_LINE, UNKNOWN, splits_into_characters, splits_into_words
from gateflow.errors import ConfigError, DataError
from gateflow.layers import Recurrent
from gateflow.runs.trust import Trust
from gateflow.tasks.language_model.config import LanguageModelConfig
from gateflow.tasks.language_model.loading import load_model, load_tokenizer
from gateflow.tasks.language_model.model import LanguageModel
from gateflow.tasks.language_model.run import LanguageModelRun
from gateflow.tasks.vectors import UNKNOWN as NUMBER_OF_UNKNOWN
from gateflow.tasks.vectors import give_vectors

__all__ = ["Network", "Sizes", "begin_from_language_model", "shared_words", "tokenizer_of"]


class Network(Protocol):
    """What can begin from a language model: vectors of words, and layers that read them first of all."""

    embedding: nn.Embedding
    recurrent: Recurrent


class Sizes(Protocol):
    """What of a network's configuration has to fit."""

    @property
    def cell(self) -> str:
        """The name of its cell."""
        ...

    @property
    def embedding_size(self) -> int:
        """Components of a word's vector."""
        ...

    @property
    def hidden_size(self) -> int:
        """Units per layer and direction."""
        ...


def begin_from_language_model(
    model: Network,
    config: Sizes,
    number_of: Callable[[str], int],
    path: Path,
    *,
    reader: str,
    tokens: str = "word",
) -> int:
    """Give a network the word vectors of a language model, and its layers to the forward directions of the same layers.

    A layer here may read more than one of a language model: a tagger's first one reads characters too, and upper ones
    both directions. Their weights for that stay as they are, as do words that the language model does not know and
    layers that it does not have.

    Args:
        model: what `config` describes, with its initial weights.
        config: of its network.
        number_of: the number of a word here, 0 if it is not known.
        path: the run of the language model; it is not needed afterwards.
        reader: what the network is called in messages, such as ``tagger``.
        tokens: what both read: ``word``, ``char`` or ``bpe``.

    Returns:
        How many words have a vector.

    Raises:
        RunError: there is no run, one that has not been validated yet, or a damaged one.
        ConfigError: it is no language model of such tokens, or one of another cell or size.
        DataError: it knows none of the words.

    Warns:
        DataWarning: it knows hardly any of the words.

    Source: Peters, Ammar, Bhagavatula, Power (2017). Semi-supervised sequence tagging with bidirectional language
    models. ACL. arXiv:1705.00108; there the language model stays beside the tagger, here it is where it begins. For
    texts: Dai, Le (2015). Semi-supervised sequence learning. NeurIPS. arXiv:1511.01432.
    """
    # Who has named a cell for the network lets its code run; a run of any other cell is refused before it is opened.
    run = LanguageModelRun.open(path, Trust(typed=config.cell))
    _refuse_other_task(run)
    # Read as text: `run.config` would ask to trust a cell that does not fit anyway.
    _refuse_other_network(path, LanguageModelConfig.read(run.config_file), config, reader)
    tokenizer = load_tokenizer(run)
    _refuse_other_tokens(tokenizer, tokens, path, reader)
    known = shared_words(number_of, tokenizer.get_vocab())
    if not known:
        raise DataError(
            f"--from-lm {path} knows none of the {model.embedding.num_embeddings - 1:,} words; take a language model "
            "of their language, or leave it out."
        )
    source = load_model(run)
    _copy_layers(model, source, path, reader)
    rows = source.embedding.weight.detach()[torch.tensor(list(known.values()))]
    return give_vectors(model.embedding, list(known), rows, path)


def tokenizer_of(path: Path) -> Tokenizer:
    """The tokenizer of a language model's run, for a task that cuts its texts as that one does.

    Raises:
        RunError: there is no run, or a damaged one.
        ConfigError: it is a run of another task.
    """
    run = LanguageModelRun.open(path)
    _refuse_other_task(run)
    return load_tokenizer(run)


def shared_words(number_of: Callable[[str], int], tokens: Mapping[str, int]) -> dict[int, int]:
    """The numbers of words with the numbers they have in a language model, the most frequent form's.

    Example:
        >>> numbers = {"teddy": 1, "bear": 2}
        >>> tokens = {"<unk>": 0, "Teddy": 3, "TEDDY": 9, "log": 1}
        >>> shared_words(lambda word: numbers.get(word.lower(), 0), tokens)
        {1: 3}
    """
    found: dict[int, int] = {}
    # The smallest number belongs to the most frequent.
    for token, number in sorted(tokens.items(), key=lambda entry: entry[1]):
        word = number_of(token)
        if word != NUMBER_OF_UNKNOWN and token not in (UNKNOWN, END_OF_LINE):
            found.setdefault(word, number)
    return found


def _refuse_other_task(run: LanguageModelRun) -> None:
    if (task := run.task()) != "lm":
        raise ConfigError(
            f"--from-lm {run.path} is a run of the task {task!r:.80}; name one that `gateflow train lm` has made."
        )


def _refuse_other_tokens(tokenizer: Tokenizer, tokens: str, path: Path, reader: str) -> None:
    kinds = {"word": splits_into_words(tokenizer), "char": splits_into_characters(tokenizer)}
    names = {"word": "words", "char": "characters", "bpe": "parts of words"}
    if not (kinds | {"bpe": not any(kinds.values())})[tokens]:
        others = " or ".join(name for kind, name in names.items() if kind != tokens)
        raise ConfigError(
            f"--from-lm {path}: its tokens are {others}, and a {reader} needs vectors of {names[tokens]}; take a "
            f"language model trained with --tokenizer {tokens}."
        )


def _refuse_other_network(path: Path, found: LanguageModelConfig, config: Sizes, reader: str) -> None:
    """Refuse a network whose weights do not fit, and say which options make them fit."""
    if found.model.is_transformer:
        raise ConfigError(
            f"--from-lm {path} is a Transformer, and this {reader} has recurrent layers; take a language model trained "
            "with --model recurrent."
        )
    options = {"--cell": "cell", "--embedding-size": "embedding_size", "--hidden-size": "hidden_size"}
    theirs, ours = ({o: getattr(part, name) for o, name in options.items()} for part in (found.model, config))
    differ = [option for option in options if theirs[option] != ours[option]]
    if differ:
        # A name out of a file may be a megabyte long.
        has, remedy = (mark.join(f"{o} {theirs[o]!s:.80}" for o in differ) for mark in (", ", " "))
        asked = ", ".join(f"{o} {ours[o]}" for o in differ)
        raise ConfigError(f"--from-lm {path} has {has}, and this {reader} {asked}; make them equal with {remedy}.")


@torch.no_grad()
def _copy_layers(model: Network, source: LanguageModel, path: Path, reader: str) -> None:
    for k in range(min(model.recurrent.num_layers, source.recurrent.num_layers)):
        # Of a layer here the first cell, which reads forwards as the language model's only one does.
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
                    f"{list(own[name].shape)} in layer {k + 1} of a {reader}, which reads more; take "
                    f"{'--characters none and ' if reader == 'tagger' else ''}--layers 1, or another cell for both."
                )
