"""A tagger's words begin from vectors that others have trained."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from gateflow.data.vectors import read_vectors
from gateflow.errors import DataError, DataWarning
from gateflow.tasks.tagger.batches import UNKNOWN
from gateflow.tasks.tagger.model import TaggerModel
from gateflow.tasks.tagger.vocabulary import Vocabulary

__all__ = ["begin_from_vectors", "give_vectors"]

told = logging.getLogger(__name__)

# Of the words that training knows; below it a file of another language or of other letters is the likelier reason.
FEWEST = 0.05


def begin_from_vectors(model: TaggerModel, vocabulary: Vocabulary, file: Path) -> int:
    """Give the words of a vocabulary their vectors out of a file; others keep the ones they have.

    Returns:
        How many words have a vector.

    Raises:
        DataError: the vectors have another size than the model's, or the file is none of vectors.

    Warns:
        DataWarning: hardly any word has one.
    """
    numbers = {word: number for number, word in enumerate(vocabulary.words, UNKNOWN + 1)}
    vectors = read_vectors(file, numbers)
    size = model.embedding.embedding_dim
    if vectors.matrix.shape[1] != size:
        raise DataError(
            f"{file} has vectors of {vectors.matrix.shape[1]} components, and --embedding-size is {size}: make them "
            "equal."
        )
    return give_vectors(model, [numbers[word] for word in vectors.words], torch.from_numpy(vectors.matrix), file)


@torch.no_grad()
def give_vectors(model: TaggerModel, numbers: Sequence[int], vectors: Tensor, source: Path) -> int:
    """Give the words of these numbers the vectors ``[len(numbers), E]``; the unknown word gets their mean.

    Returns:
        How many words have a vector.

    Warns:
        DataWarning: hardly any word has one.
    """
    words = model.embedding.num_embeddings - 1
    model.embedding.weight[torch.tensor(numbers)] = vectors
    # What nothing is known of is the mean of what is known.
    model.embedding.weight[UNKNOWN] = vectors.mean(0)
    found = f"{source} has vectors of {len(numbers):,} of the {words:,} words of the training part"
    if len(numbers) < FEWEST * words:
        warnings.warn(f"{found}; they are looked up in small letters.", DataWarning, stacklevel=3)
    else:
        told.info(f"{found}, {100 * len(numbers) / words:.1f} %.")
    return len(numbers)
