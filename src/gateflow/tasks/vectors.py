"""The words of a task begin from vectors that others have trained."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from gateflow.data.vectors import read_vectors
from gateflow.errors import DataError, DataWarning

__all__ = ["UNKNOWN", "begin_from_vectors", "give_vectors"]

# The number of every word that training has not seen; the first row of an embedding.
UNKNOWN = 0

told = logging.getLogger(__name__)

# Of the words that training knows; below it a file of another language or of other letters is the likelier reason.
FEWEST = 0.05


def begin_from_vectors(embedding: nn.Embedding, words: Sequence[str], file: Path) -> int:
    """Give words their vectors out of a file; others keep the ones they have.

    Args:
        embedding: its first row is the unknown word's, and then each of `words` has one.
        words: as they are looked up.
        file: word vectors as text, plain or gz.

    Returns:
        How many words have a vector.

    Raises:
        DataError: the vectors have another size than the model's, or the file is none of vectors.

    Warns:
        DataWarning: hardly any word has one.
    """
    numbers = {word: number for number, word in enumerate(words, UNKNOWN + 1)}
    vectors = read_vectors(file, numbers)
    size = embedding.embedding_dim
    if vectors.matrix.shape[1] != size:
        raise DataError(
            f"{file} has vectors of {vectors.matrix.shape[1]} components, and --embedding-size is {size}: make them "
            "equal."
        )
    return give_vectors(embedding, [numbers[word] for word in vectors.words], torch.from_numpy(vectors.matrix), file)


@torch.no_grad()
def give_vectors(embedding: nn.Embedding, numbers: Sequence[int], vectors: Tensor, source: Path) -> int:
    """Give the words of these numbers the vectors ``[len(numbers), E]``; the unknown word gets their mean.

    Returns:
        How many words have a vector.

    Warns:
        DataWarning: hardly any word has one.
    """
    words = embedding.num_embeddings - 1
    embedding.weight[torch.tensor(numbers)] = vectors
    # What nothing is known of is the mean of what is known.
    embedding.weight[UNKNOWN] = vectors.mean(0)
    found = f"{source} has vectors of {len(numbers):,} of the {words:,} words of the training part"
    if len(numbers) < FEWEST * words:
        warnings.warn(f"{found}; they are looked up in small letters.", DataWarning, stacklevel=3)
    else:
        told.info(f"{found}, {100 * len(numbers) / words:.1f} %.")
    return len(numbers)
