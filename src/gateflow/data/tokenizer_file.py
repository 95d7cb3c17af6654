"""A tokenizer on disk: of what a file says, numbers and merges are believed, once they have been looked at."""

from __future__ import annotations

import json
import reprlib
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from gateflow.data.text import LONGEST
from gateflow.data.tokenizer import END_OF_LINE, UNKNOWN, assemble
from gateflow.errors import ConfigError, DataError

__all__ = ["LARGEST_FILE", "read_tokenizer", "tokenizer_text"]

LARGEST_FILE, MOST_COMMAS = 1 << 26, 1 << 21
"""64 MiB, and two million entries: memory is taken by entry as well as by character."""

_SPECIAL = {"word": (UNKNOWN, END_OF_LINE), "char": (UNKNOWN, "\n"), "bpe": (END_OF_LINE,)}


def tokenizer_text(tokenizer: Tokenizer) -> str:
    """What is written to tokenizer.json.

    Raises:
        ConfigError: it is larger than what is read again.

    Example:
        >>> tokenizer_text(assemble("word", {UNKNOWN: 0, END_OF_LINE: 1}))[:17]
        '{"version":"1.0",'
    """
    text = tokenizer.to_str()
    if len(text.encode()) > LARGEST_FILE or text.count(",") > MOST_COMMAS:
        raise ConfigError(
            f"a vocabulary of {tokenizer.get_vocab_size():,} tokens is too large: 64 MiB and two million entries are "
            "read again. Choose a --vocab-size, or another --tokenizer."
        )
    return text


def read_tokenizer(path: Path) -> Tokenizer:
    r"""Read a tokenizer that :func:`gateflow.data.tokenizer.build_tokenizer` made, and no other.

    The format of Hugging Face's tokenizers can pad each text, replace and multiply its characters, or run a pattern
    without end. Whatever is not as gateflow writes it is refused, in a time and memory that the file's size bounds.

    Raises:
        DataError: the file is larger than 64 MiB or damaged, has a part that gateflow does not write, numbers that
            leave gaps or go beyond the vocabulary, an absurdly long token, or merges of tokens that do not exist.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "tokenizer.json"
        >>> _ = file.write_text(tokenizer_text(assemble("word", {UNKNOWN: 0, END_OF_LINE: 1, "cat": 2})))
        >>> read_tokenizer(file).encode("the cat").tokens
        ['<unk>', 'cat', '<eos>']
    """
    whole = _parsed(path)
    model = whole.get("model")
    if not isinstance(model, dict):
        raise DataError(f"{path} is damaged: it has no model.")
    kind = _kind(whole, model)
    vocabulary, merges = model.pop("vocab", None), model.pop("merges", [])
    _check_vocabulary(path, vocabulary, kind)
    pairs = _checked_merges(path, merges, vocabulary)
    _check_parts(path, whole, kind, vocabulary)
    return assemble(kind, vocabulary, pairs)


def _parsed(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            # Before anything is parsed: `json.loads` takes memory by entry, not by byte.
            raw = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise DataError(f"{path} cannot be opened: {error.strerror}.") from error
    if len(raw) > LARGEST_FILE or raw.count(b",") > MOST_COMMAS:
        raise DataError(f"{path} is too large for a tokenizer: more than 64 MiB, or than two million entries.")
    try:
        whole = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is damaged ({type(error).__name__}: {error}).") from None
    if not isinstance(whole, dict):
        raise DataError(f"{path} is damaged: it holds no JSON object.")
    return whole


def _kind(whole: dict[str, Any], model: dict[str, Any]) -> str:
    if model.get("type") == "WordLevel":
        return "word"
    return "char" if whole.get("pre_tokenizer") is None else "bpe"


def _check_vocabulary(path: Path, vocabulary: Any, kind: str) -> None:
    """Every token a text of sane length, their numbers 0, 1, 2, …, and the special ones among them."""
    if not isinstance(vocabulary, dict) or not vocabulary:
        raise DataError(f"{path} is damaged: it has no vocabulary.")
    numbers = list(vocabulary.values())
    seen = bytearray(len(numbers))
    for token, number in vocabulary.items():
        # No `isinstance`: JSON's true is an int to Python.
        if type(number) is not int or not 0 <= number < len(numbers) or seen[number]:
            raise DataError(
                f"{path}: token {_short(token)} has number {_short(number)}; {len(numbers):,} tokens have the numbers "
                f"0 to {len(numbers) - 1:,}, each once."
            )
        seen[number] = 1
        # No piece of text is longer, so no text could hold it.
        if len(token) > LONGEST:
            raise DataError(f"{path}: a token of {len(token):,} characters, and {LONGEST:,} is the most that is read.")
    if missing := [token for token in _SPECIAL[kind] if token not in vocabulary]:
        raise DataError(f"{path}: the vocabulary lacks {missing[0]!r}.")


def _checked_merges(path: Path, merges: Any, vocabulary: dict[str, int]) -> list[tuple[str, str]]:
    """As pairs, which older versions of tokenizers write as one text with a space."""
    found = list[tuple[str, str]]()
    for merge in merges if isinstance(merges, list) else [merges]:
        pair = merge.split(" ") if isinstance(merge, str) else merge
        fits = isinstance(pair, list) and len(pair) == 2 and all(isinstance(part, str) for part in pair)
        if not fits or any(token not in vocabulary for token in (*pair, "".join(pair))):
            raise DataError(f"{path}: the merge {_short(merge)} is no pair of tokens that make a token.")
        found.append((pair[0], pair[1]))
    return found


def _check_parts(path: Path, whole: dict[str, Any], kind: str, vocabulary: dict[str, int]) -> None:
    """All but vocabulary and merges is as `assemble` makes it; what is absent counts as none, for older versions."""
    special = _SPECIAL[kind]
    # All but vocabulary and merges must be what we write. A list of what is forbidden would miss what the
    # next version of the format brings.
    written = json.loads(assemble(kind, {token: number for number, token in enumerate(special)}).to_str())
    for name in ("vocab", "merges"):
        written["model"].pop(name, None)
    written["post_processor"]["special_tokens"][special[-1]]["ids"] = [vocabulary[special[-1]]]
    for name in sorted(written.keys() | whole.keys()):
        try:
            # A part nested beyond Python's stack is not one of ours either.
            same = _without_absent(whole.get(name)) == _without_absent(written.get(name))
        except RecursionError:
            same = False
        if not same:
            raise DataError(
                f"{path}: gateflow writes no such {name}: {_short(whole.get(name))} in place of "
                f"{_short(written.get(name))}. It could change or multiply a text, so it is not used."
            )


def _without_absent(part: Any) -> Any:
    if isinstance(part, dict):
        return {name: kept for name, value in part.items() if (kept := _without_absent(value))}
    return [_without_absent(value) for value in part] if isinstance(part, list) else part


def _short(value: Any) -> str:
    brief = reprlib.Repr()
    brief.maxdict, brief.maxlevel = 3, 2
    return brief.repr(value)
