"""Texts: cut into tokens, which become numbers, which become vectors."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from gateflow.data.labelled import LabelledText, is_of_a_table, read_labelled
from gateflow.data.lines import blocks_of, blocks_of_lines
from gateflow.data.series.series import is_number_or_missing
from gateflow.errors import ConfigError, DataWarning
from gateflow.files import appears_whole, write
from gateflow.tasks.classifier.config import ClassifierConfig
from gateflow.tasks.classifier.inputs.base import AS_TRAINED, REMEDY, Asked, Encoder, Input
from gateflow.tasks.classifier.inputs.vocabulary import Pieces, Vocabulary, Words, read_pieces_of_bpe, read_words
from gateflow.tasks.classifier.model import ClassifierModel, TextModel
from gateflow.tasks.classifier.prediction import CHUNK
from gateflow.tasks.classifier.run import ClassifierRun
from gateflow.tasks.classifier.targets import Targets
from gateflow.tasks.transfer import begin_from_language_model, tokenizer_of
from gateflow.tasks.vectors import begin_from_vectors

__all__ = ["TextEncoder", "TextInput"]


class TextEncoder(Encoder[LabelledText]):
    """The numbers of a text's tokens.

    Args:
        vocabulary: gives the numbers.
        longest: tokens that are read of a text.

    Example:
        >>> encoder = TextEncoder(Words("word", ["terribly", "exciting"]), longest=9)
        >>> encoder.steps(LabelledText("terribly good", (), line=1)).tolist()
        [1, 0]
    """

    def __init__(self, vocabulary: Vocabulary, longest: int) -> None:
        self.vocabulary, self.longest = vocabulary, longest

    def fitting(self, example: LabelledText) -> LabelledText:
        """The text itself.

        Warns:
            DataWarning: not all of it is read.
        """
        # A character has four bytes at most, and no token is less than a byte: most texts need not be cut twice.
        if 4 * len(example.text) > self.longest and self.length(example) > self.longest:
            # Without their numbers, so that each is told once.
            _tell(f"some texts have more than {self.longest:,} tokens: the rest of them is not read.")
        return example

    def length(self, example: LabelledText) -> int:
        """How many tokens a text has, but none beyond the first that is not read."""
        return len(self.vocabulary.numbers(example.text, self.longest + 1))

    def steps(self, example: LabelledText) -> Tensor:
        """Numbers of tokens, ``[T]``."""
        # As 32 bits: a corpus of a hundred million tokens stays in memory.
        return torch.tensor(self.vocabulary.numbers(example.text, self.longest), dtype=torch.int32)

    def names(self, example: LabelledText) -> list[str]:
        """The tokens as they stand in the text."""
        return [token.text for token in self.vocabulary.cut(example.text, self.longest)]

    def model(self, config: ClassifierConfig, targets: Targets) -> TextModel:
        """A network over vectors of tokens."""
        network = config.model
        model = TextModel(
            len(self.vocabulary) + 1,
            embedding_size=network.embedding_size,
            word_dropout=network.word_dropout,
            bidirectional=network.bidirectional,
            read_out=network.read_out,
            **targets.for_network(),
            **network.of_layers(),
        )
        # Frozen here and not where the vectors are read: a resumed run builds its model anew.
        model.embedding.weight.requires_grad_(not network.frozen)
        return network.with_initial_weights(model)

    def write(self, run: ClassifierRun) -> None:
        """As vocabulary.json, or tokenizer.json of BPE."""
        file = run.tokenizer_file if isinstance(self.vocabulary, Pieces) else run.vocabulary_file
        write(file, self.vocabulary.to_json())


class TextInput(Input[LabelledText]):
    """TSV, CSV, JSON lines, or fastText's labels."""

    one: ClassVar = "text"
    many: ClassVar = "texts"
    steps: ClassVar = "words"
    suffix: ClassVar = ".jsonl"

    def read(
        self, path: Path, config: ClassifierConfig, asked: Asked = AS_TRAINED, track: Any = None
    ) -> list[LabelledText]:
        """All texts of a file; see `gateflow.data.labelled.read_labelled`."""
        if config.data.per_step:
            raise ConfigError("--per-step is for series; words of texts are labelled by `gateflow train tagger`.")
        return list(
            read_labelled(
                path,
                text=asked.text or config.texts.text,
                label=asked.label or config.data.label,
                separator=config.data.separator if config.data.multi_label else None,
                labelled=asked.labelled,
                known=asked.known,
                group=config.data.group if asked.labelled else None,
                numbers=config.data.regression,
            )
        )

    def stream(self, path: Path, config: ClassifierConfig, asked: Asked) -> Iterator[Sequence[LabelledText]]:
        """Lines as they come; or the rows of a table, if a column is named."""
        if asked.text is not None:
            yield from blocks_of(read_labelled(path, text=asked.text, labelled=False), CHUNK)
            return
        number = 0
        for lines in blocks_of_lines(path, CHUNK):
            if number == 0 and lines and is_of_a_table(lines[0], asked.known):
                _tell(
                    f"each line is read as a text, and the first one, {lines[0]!r:.60}, looks like that of a table; "
                    "--text COLUMN reads the texts of one."
                )
            yield [LabelledText(line, (), number + i) for i, line in enumerate(lines, 1)]
            number += len(lines)

    def called(self, example: LabelledText) -> dict[str, Any]:
        """Its line."""
        return {"line": example.line, "text": example.text}

    def fitted(self, config: ClassifierConfig, train: Sequence[LabelledText], folder: Path) -> TextEncoder:
        """The tokens of the texts that are learnt from."""
        asked, longest, texts = config.texts, config.data.longest, [text.text for text in train]
        if asked.tokenizer != "bpe":
            words = Words.of(asked.tokenizer, texts, longest=longest, min_count=asked.min_count, most=asked.vocab_size)
            return TextEncoder(words, longest)
        # Vectors of a language model are those of its own pieces.
        of_model = asked.from_lm and Pieces(tokenizer_of(asked.from_lm))
        return TextEncoder(of_model or Pieces.of(texts, folder, most=asked.vocab_size), longest)

    def load(self, run: ClassifierRun) -> TextEncoder:
        """Out of the run's vocabulary.json or tokenizer.json."""
        config = run.config()
        if config.texts.tokenizer == "bpe":
            pieces = read_pieces_of_bpe(run.unharmed(run.tokenizer_file, REMEDY), REMEDY)
            return TextEncoder(pieces, config.data.longest)
        return TextEncoder(read_words(run.unharmed(run.vocabulary_file, REMEDY), REMEDY), config.data.longest)

    def write_part(self, file: Path, examples: Sequence[LabelledText]) -> None:
        """A JSON object a line, in which any text fits and labels stay what they are."""
        with appears_whole(file) as out:
            for text in examples:
                row = {"text": text.text, "labels": list(text.labels)}
                out.write((json.dumps(row, ensure_ascii=False) + "\n").encode())

    def read_part(self, file: Path) -> list[LabelledText]:
        """The texts of `write_part`."""
        return list(read_labelled(file, text="text", label="labels", separator=",", numbers=True))

    def tell(self, train: Sequence[LabelledText], encoder: Encoder[LabelledText]) -> None:
        """Say how many texts are empty, of how many not all is read, and if they look like numbers."""
        assert isinstance(encoder, TextEncoder)
        # Digits may be read one by one; more often it is a table of series that names none.
        if all(is_number_or_missing(text.text) for text in train) and any(text.text.strip() for text in train):
            _tell(
                f"all texts to learn from are numbers, such as {train[0].text!r:.40}, and are read as words; if they "
                "are values of series, say --input series."
            )
        counts = [encoder.length(text) for text in train]
        if empty := counts.count(0):
            _tell(f"{empty:,} of the {len(train):,} texts to learn from are empty; their label is learnt all the same.")
        if cut := sum(count > encoder.longest for count in counts):
            _tell(
                f"{cut:,} of the {len(train):,} texts to learn from have more than {encoder.longest:,} tokens, and the "
                "rest of them is not read; --longest reads more."
            )

    def begin(self, model: ClassifierModel, encoder: Encoder[LabelledText], config: ClassifierConfig) -> None:
        """From word vectors or a language model."""
        assert isinstance(model, TextModel)
        assert isinstance(encoder, TextEncoder)
        asked, vocabulary = config.texts, encoder.vocabulary
        if asked.embeddings is not None and isinstance(vocabulary, Words):
            begin_from_vectors(model.embedding, vocabulary.tokens, asked.embeddings)
        if asked.from_lm is not None:
            if config.model.is_transformer:
                raise ConfigError(
                    "--from-lm gives recurrent layers their weights; take --model recurrent, or leave it out."
                )
            tokens = {"jamo": "char"}.get(asked.tokenizer, asked.tokenizer)
            begin_from_language_model(
                model, config.model, vocabulary.number, asked.from_lm, reader="classifier", tokens=tokens
            )


def _tell(text: str) -> None:
    warnings.warn(text, DataWarning, stacklevel=5)
