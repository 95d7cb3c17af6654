"""Tagged sentences made into numbers once, so that a batch of them is put together fast."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from gateflow.data.tagged import TaggedSentence
from gateflow.tasks.tagger.batches import IGNORED, TaggedBatch
from gateflow.tasks.tagger.vocabulary import Vocabulary

__all__ = ["EncodedSentences", "encoded_batch"]


class EncodedSentences:
    """Sentences as numbers. Each different spelling of a word is kept once; sentences say which ones they hold.

    Args:
        vocabulary: gives the numbers.
        sentences: tags too are numbered, of those columns that all of them have.

    Example:
        >>> from gateflow.tasks.tagger.vocabulary import Column
        >>> vocabulary = Vocabulary(("teddy", "bears"), ("T", "e"), (Column(name="pos", scheme=None, labels=("N",)),))
        >>> sentences = [TaggedSentence(("Teddy", "bears"), {"pos": ("N", "N")}, line=1)]
        >>> batch = EncodedSentences(vocabulary, sentences).batch([0])
        >>> batch.words.tolist(), batch.spellings.shape, batch.tags["pos"].tolist()
        ([[1], [2]], torch.Size([5, 2]), [[0], [0]])
    """

    def __init__(self, vocabulary: Vocabulary, sentences: Sequence[TaggedSentence]) -> None:
        self.spelling_of = {word: i for i, word in enumerate(dict.fromkeys(w for s in sentences for w in s.words))}
        # At least one, of one character: of no words there would be nothing to pad.
        spelled = [torch.tensor(vocabulary.spelling(word)) for word in self.spelling_of] or [torch.zeros(1).long()]
        self.spellings, self.spelled = pad_sequence(spelled), torch.tensor([len(spelling) for spelling in spelled])
        numbers = torch.tensor([vocabulary.word(word) for word in self.spelling_of], dtype=torch.int64)
        self.forms = [torch.tensor([self.spelling_of[w] for w in s.words], dtype=torch.int64) for s in sentences]
        self.words = [numbers[forms] for forms in self.forms]
        self.tags: dict[str, list[Tensor]] = {
            column.name: [torch.tensor([column.numbers[tag] for tag in s.tags[column.name]]) for s in sentences]
            for column in vocabulary.columns
            if all(column.name in s.tags for s in sentences)
        }

    def batch(self, rows: Sequence[int], read: Tensor | None = None) -> TaggedBatch:
        """The sentences of these numbers side by side; `read` is what the characters of each spelling give."""
        forms, lengths = pad_sequence([self.forms[i] for i in rows]), torch.tensor([len(self.forms[i]) for i in rows])
        # Each different word of the batch is read once; beyond the end of a sentence stands any of them.
        different, spelling_of = torch.unique(forms, return_inverse=True)
        spelled = self.spelled[different] if len(different) else self.spelled[:1]
        return TaggedBatch(
            words=pad_sequence([self.words[i] for i in rows]),
            lengths=lengths,
            spellings=(self.spellings[:, different] if len(different) else self.spellings[:, :1])[: int(spelled.max())],
            spelled=spelled,
            spelling_of=spelling_of,
            read=None if read is None else read[forms],
            tags={
                name: pad_sequence([tags[i] for i in rows], padding_value=IGNORED) for name, tags in self.tags.items()
            },
        )


def encoded_batch(vocabulary: Vocabulary, sentences: Sequence[TaggedSentence]) -> TaggedBatch:
    """Some sentences as one batch."""
    return EncodedSentences(vocabulary, sentences).batch(range(len(sentences)))
