"""The order in which truncated back-propagation reads an encoded text."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gateflow.errors import ConfigError, DataError

# What torch's losses ignore by default.
IGNORED = -100
# Four million tokens: the file is mapped, and must not be in memory as a whole for being counted.
_COUNTED_AT_ONCE = 1 << 22


class TokenStream:
    """The windows of one encoded text, in an order that lets the recurrent state be carried on.

    The text is cut into ``batch_size`` columns of equal length that are read side by side. A window is the next stretch
    of every column, so the state after one window is the right state to begin the next with. With several processes,
    each takes its share of the columns: two processes with half the columns each see what one with all would. To
    evaluate, some may have a column more than others, or none.

    Args:
        path: The ``.npy`` file of :func:`encode_file`. It is mapped, not loaded.
        batch_size: Columns of all processes together.
        window: Time steps per window. The last window of a pass may be shorter.
        rank: The number of this process.
        world_size: How many processes there are.
        whole: Predict the tokens that fill no whole row too, by padding their targets with ``IGNORED``. Use this to
            evaluate.

    Raises:
        ConfigError: A size below 1, or columns that cannot be shared out evenly.
        DataError: The file is damaged, or has too few tokens for so many columns.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.save(Path(folder, "text.npy"), np.arange(7, dtype=np.uint16))
        ...     inputs, targets = next(TokenStream(Path(folder, "text.npy"), batch_size=2, window=3).windows())
        >>> inputs.T.tolist(), targets.T.tolist()
        ([[0, 1, 2], [3, 4, 5]], [[1, 2, 3], [4, 5, 6]])
    """

    def __init__(
        self, path: str | Path, batch_size: int, window: int, rank: int = 0, world_size: int = 1, *, whole: bool = False
    ) -> None:
        _check_sizes(batch_size, window, 1 if whole else world_size)
        self.window = window
        self._path, self._tokens = Path(path), token_file(Path(path))
        predicted = len(self._tokens) - 1
        # Rounded down, training leaves out less than one row at the end of the text; rounded up,
        # evaluation leaves out none.
        self._steps = -(-predicted // batch_size) if whole else predicted // batch_size
        if self._steps < 1:
            raise DataError(_too_few(Path(path), len(self._tokens), batch_size))
        self._starts = self._steps * np.array_split(np.arange(batch_size), world_size)[rank]

    @property
    def columns(self) -> int:
        """How many columns this process reads."""
        return len(self._starts)

    def __len__(self) -> int:
        """Windows in one pass over the text."""
        return -(-self._steps // self.window)

    def windows(self, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield ``(inputs, targets)``, each ``int64 [T, B]``, from window number ``start`` to the end of the pass."""
        for begin in range(start * self.window, self._steps, self.window):
            end = min(begin + self.window, self._steps)
            yield self._read(begin, end)

    def _read(self, begin: int, end: int) -> tuple[Tensor, Tensor]:
        places = np.arange(begin, end + 1)[:, None] + self._starts
        # One row more than the window: targets are the inputs, one step on. Places beyond the text are masked below.
        rows = torch.from_numpy(self._tokens[np.minimum(places, len(self._tokens) - 1)].astype(np.int64))
        beyond = torch.from_numpy(places[1:] >= len(self._tokens))
        return rows[:-1], rows[1:].masked_fill(beyond, IGNORED)

    def refuse_others_than(self, vocab_size: int) -> None:
        """Read the text once, and refuse token numbers that the vocabulary does not have.

        Raises:
            DataError: there is such a number.
        """
        for begin in range(0, len(self._tokens), _COUNTED_AT_ONCE):
            largest = int(self._tokens[begin : begin + _COUNTED_AT_ONCE].max())
            if largest >= vocab_size:
                raise DataError(
                    f"{self._path} holds the token {largest}, and the vocabulary has {vocab_size}: it was made with "
                    "another tokenizer, or is damaged. Encode the text again."
                )

    def frequencies(self, vocab_size: int) -> Tensor:
        """Count how often each token occurs in the whole text, ``int64 [V]``."""
        counts = torch.zeros(vocab_size, dtype=torch.int64)
        for begin in range(0, len(self._tokens), _COUNTED_AT_ONCE):
            part = np.bincount(self._tokens[begin : begin + _COUNTED_AT_ONCE], minlength=vocab_size)
            counts += torch.from_numpy(part)
        return counts


def _check_sizes(batch_size: int, window: int, world_size: int) -> None:
    if batch_size < 1 or window < 1:
        raise ConfigError(f"batch_size and window must be at least 1, not {batch_size} and {window}.")
    # With uneven shares the loss of all processes would not be that of one with all columns.
    if batch_size % world_size:
        raise ConfigError(
            f"batch_size {batch_size} cannot be shared evenly among {world_size} processes: "
            f"choose a multiple of {world_size}."
        )


def token_file(path: Path) -> np.ndarray:
    """The token numbers of a file of :func:`encode_file`, mapped.

    Raises:
        DataError: it is missing, damaged, or holds something else.
    """
    try:
        # Reads plain arrays only: an object array, which would be a pickle, is refused.
        tokens = np.lib.format.open_memmap(path, mode="r")
    except FileNotFoundError:
        raise DataError(f"{path} does not exist. Encode the text first (gateflow.data.tokens.encode_file).") from None
    except (ValueError, EOFError, OSError, TypeError, OverflowError, SyntaxError, RecursionError) as error:
        raise DataError(
            f"{path} is no whole token file ({error!s:.200}). Remove it and encode the text again."
        ) from error
    if tokens.ndim != 1 or tokens.dtype not in (np.uint16, np.uint32):
        raise DataError(
            f"{path} holds {tokens.dtype} {list(tokens.shape)}, not a row of token numbers. Encode the text again."
        )
    return tokens


def _too_few(path: Path, tokens: int, batch_size: int) -> str:
    if tokens < 2:
        return f"{path} holds {tokens} token: nothing comes after it to be predicted. Give a longer text."
    return (
        f"{path} holds {tokens} tokens, too few for {batch_size} columns of at least one prediction each. "
        f"Give a longer text, or --batch-size {tokens - 1} or less."
    )
