"""From text to token numbers and back: words, characters, or byte-level BPE trained on the user's text."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from gateflow.data.source import spoken
from gateflow.data.text import LONGEST, Border, Piece, read_pieces
from gateflow.errors import ConfigError, DataError

UNKNOWN = "<unk>"
END_OF_LINE = "<eos>"
# As many as `read_tokenizer` reads again; refused while counting, and not after an hour.
MOST_WORDS = 1 << 21
_DEFAULT_BPE_SIZE = 8192
_BYTES = 256
_LEARNED_FROM, _TORN_AT_MOST = 1 << 22, 16


def build_tokenizer(kind: str, path: str | Path, vocab_size: int | None = None, min_count: int = 1) -> Tokenizer:
    r"""Build a tokenizer from a text file; the same file always gives the same numbers.

    Every line ends in one token: ``<eos>`` for words and BPE, the newline itself for characters. Encoding a line adds
    it, ``encode(text, add_special_tokens=False)`` does not.

    Args:
        kind: ``"word"``: what white space separates, spelled as in the file. ``"char"``: every Unicode character.
            ``"bpe"``: byte-level byte-pair encoding (Sennrich et al. 2016), which knows no unknown token.
        path: UTF-8 text, plain or gzip. It is read in pieces, so that memory grows with its different words, not with
            the text nor its lines.
        vocab_size: The most tokens to have, ``<unk>`` and the end of line included. The most frequent stay, equals in
            code point order. Default: all words or characters of the file; 8192 for BPE.
        min_count: Words and characters that occur less often are unknown; BPE has no unknown ones.

    Raises:
        ConfigError: No such kind, a vocabulary too small to hold what every tokenizer of the kind must have, or more
            than two million different words without a `vocab_size`.
        DataError: The file is no text (see :func:`gateflow.data.text.read_pieces`), or one for words has none, as where
            nothing but letters stand for 65,536 characters.

    BPE learns its merges from the text up to where its different words, as white space separates them, have 4 MiB in
    all (WikiText-2 has 0.2), which are the first 4 MiB of a language that is written without spaces. A pre-token longer
    than 65,536 characters (base pairs, say) is cut there, and of such cuttings the first 16 are learned from.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder, "text.txt")
        ...     _ = file.write_text("the cat saw the dog\n", encoding="utf-8")
        ...     words = build_tokenizer("word", file)
        >>> words.encode("the bird saw").tokens
        ['the', '<unk>', 'saw', '<eos>']
    """
    if kind not in _KINDS:
        raise ConfigError(f"No tokenizer is called {kind!r}. Choose one of: {', '.join(_KINDS)}.")
    build, least = _KINDS[kind]
    if vocab_size is not None and vocab_size < least:
        raise ConfigError(
            f"A vocabulary of {vocab_size} is too small: a {kind} tokenizer needs at least {least} tokens."
        )
    return build(Path(path), vocab_size, min_count)


def _word(path: Path, vocab_size: int | None, min_count: int) -> Tokenizer:
    counts = Counter[str]()
    for piece in whole_words(read_pieces(path), path):
        counts.update(piece.text.split())
        if vocab_size is None and len(counts) > MOST_WORDS:
            raise ConfigError(
                f"{spoken(path)} has more than {MOST_WORDS:,} different words. Choose a --vocab-size, which keeps "
                "the most frequent, or --tokenizer bpe or char."
            )
    return assemble("word", _number([UNKNOWN, END_OF_LINE], counts, vocab_size, min_count))


def _char(path: Path, vocab_size: int | None, min_count: int) -> Tokenizer:
    counts = Counter[str]()
    for piece in read_pieces(path):
        counts.update(piece.text)
    return assemble("char", _number([UNKNOWN, "\n"], counts, vocab_size, min_count))


def _bpe(path: Path, vocab_size: int | None, _min_count: int) -> Tokenizer:
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    # One less, for the end of line below.
    size = (vocab_size or _DEFAULT_BPE_SIZE) - 1
    trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False)
    trained.train_from_iterator(_learned_from(read_pieces(path)), trainer)
    # <eos> joins as a plain entry: as a "special" token it would also match where a user's text spells it.
    model = json.loads(trained.to_str())["model"]
    vocabulary = model["vocab"] | {END_OF_LINE: len(model["vocab"])}
    return assemble("bpe", vocabulary, [tuple(pair) for pair in model["merges"]])


def assemble(kind: str, vocabulary: dict[str, int], merges: list[tuple[str, str]] | None = None) -> Tokenizer:
    """A tokenizer of one of the three kinds; but for these numbers and merges, two of a kind are the same.

    Example:
        >>> assemble("word", {UNKNOWN: 0, END_OF_LINE: 1, "cat": 2}).encode("a cat").ids
        [0, 2, 1]
    """
    if kind == "word":
        tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
        # str.split takes the four ASCII separators for white space, Unicode's own property does not.
        tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\x1c-\x1f]+"), "removed")
    elif kind == "char":
        # BPE without merges is characters, four times as fast as splitting between every two of them.
        tokenizer = Tokenizer(models.BPE(vocabulary, [], unk_token=UNKNOWN))
        tokenizer.decoder = decoders.Fuse()
    else:
        tokenizer = Tokenizer(models.BPE(vocabulary, merges or []))
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
    end = "\n" if kind == "char" else END_OF_LINE
    special = [(end, vocabulary[end])]
    tokenizer.post_processor = processors.TemplateProcessing(single=["$A", end], special_tokens=special)
    return tokenizer


def splits_into_words(tokenizer: Tokenizer) -> bool:
    """Whether its tokens are what white space separates.

    Example:
        >>> splits_into_words(assemble("char", {UNKNOWN: 0, "\\n": 1}))
        False
    """
    return isinstance(tokenizer.model, models.WordLevel)


def splits_into_characters(tokenizer: Tokenizer) -> bool:
    """Whether its tokens are single characters.

    Example:
        >>> splits_into_characters(assemble("char", {UNKNOWN: 0, "\\n": 1}))
        True
    """
    # Both are BPE for `tokenizers`, which cuts the text of byte-level BPE before it merges.
    return isinstance(tokenizer.model, models.BPE) and tokenizer.pre_tokenizer is None


def whole_words(pieces: Iterator[Piece], path: Path) -> Iterator[Piece]:
    """Pass the pieces on, as long as no word lies in two of them.

    Raises:
        DataError: a word is longer than a piece.
    """
    number = 1
    for piece in pieces:
        if piece.border in (Border.SYMBOL, Border.NOTHING) and not piece.text[-1].isspace():
            raise DataError(
                f"{spoken(path)}, line {number}: no white space in {LONGEST:,} characters, which would be one word. "
                "Choose --tokenizer char or bpe, or break it up."
            )
        yield piece
        number += piece.border is Border.LINE


def _learned_from(pieces: Iterator[Piece]) -> Iterator[str]:
    # The trainer holds every different pre-token, at some 140 bytes a byte (64 MB of Chinese clauses took 9 GB), and
    # goes through the long ones at each merge.
    known, size, torn = set[str](), 0, 0
    for piece in pieces:
        torn += piece.border is Border.NOTHING
        if piece.border is Border.NOTHING and torn > _TORN_AT_MOST:
            continue
        new = set(piece.text.split()) - known
        size += sum(len(word.encode()) for word in new)
        if size > _LEARNED_FROM:
            return
        known |= new
        yield piece.text


def _number(reserved: list[str], counts: Counter[str], vocab_size: int | None, min_count: int) -> dict[str, int]:
    # Ties by code point: the same file gives the same numbers in every process, whatever its hash seed.
    frequent = {token for token, count in counts.items() if count >= min_count} - set(reserved)
    found = sorted(frequent, key=lambda token: (-counts[token], token))
    return {token: number for number, token in enumerate((reserved + found)[:vocab_size])}


_Builder = Callable[[Path, int | None, int], Tokenizer]
# The least that each needs: <unk>, the end of line and one word or character; all bytes and the end of line.
_KINDS: dict[str, tuple[_Builder, int]] = {"word": (_word, 3), "char": (_char, 3), "bpe": (_bpe, _BYTES + 1)}


def end_of_line(tokenizer: Tokenizer) -> int:
    r"""Return the number of the token that ends a line.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "text.txt").write_text("the cat\n", encoding="utf-8")
        ...     words = build_tokenizer("word", Path(folder, "text.txt"))
        >>> words.id_to_token(end_of_line(words))
        '<eos>'
    """
    return tokenizer.encode("").ids[0]


def encode_prompt(tokenizer: Tokenizer, text: str) -> list[int]:
    r"""Encode the beginning of a line, behind the end of the line before it; the text may be empty.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "text.txt").write_text("the cat\n", encoding="utf-8")
        ...     words = build_tokenizer("word", Path(folder, "text.txt"))
        >>> [words.id_to_token(number) for number in encode_prompt(words, "the cat")]
        ['<eos>', 'the', 'cat']
    """
    end = end_of_line(tokenizer)
    lines = [tokenizer.encode(line, add_special_tokens=False).ids for line in text.split("\n")]
    return [number for line in lines for number in (end, *line)]


def unknown_in(tokenizer: Tokenizer, text: str) -> list[str]:
    r"""The words or characters of a text that have no token of their own, each once, in the order of the text.

    Example:
        >>> unknown_in(assemble("char", {UNKNOWN: 0, "\n": 1, "c": 2, "a": 3}), "a cab")
        [' ', 'b']
    """
    number = tokenizer.token_to_id(UNKNOWN)
    found: dict[str, None] = {}
    for line in text.split("\n"):
        encoding = tokenizer.encode(line, add_special_tokens=False)
        places = zip(encoding.ids, encoding.offsets, strict=True)
        found |= dict.fromkeys(line[begin:end] for i, (begin, end) in places if i == number)
    return list(found)


def decode(tokenizer: Tokenizer, ids: Iterable[int]) -> str:
    r"""Turn token numbers back into text, ends of line into ``\n``.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder, "text.txt")
        ...     _ = file.write_text("나는 학교에 간다\n", encoding="utf-8")
        ...     syllables = build_tokenizer("char", file)
        >>> decode(syllables, syllables.encode("학교").ids)
        '학교\n'
    """
    return "".join(decode_stream(tokenizer, ids))


def decode_stream(tokenizer: Tokenizer, ids: Iterable[int]) -> Iterator[str]:
    r"""Yield the text of token numbers as they arrive, holding back the bytes of an unfinished character.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "text.txt").write_text("the cat\n", encoding="utf-8")
        ...     words = build_tokenizer("word", Path(folder, "text.txt"))
        >>> list(decode_stream(words, words.encode("the cat").ids))
        ['the', ' cat', '\n']
    """
    end, line, held = end_of_line(tokenizer), decoders.DecodeStream(), list[int]()
    for number in ids:
        if number == end:
            yield _decode(tokenizer, held) + "\n"
            # Each line is decoded by itself, as it was encoded.
            line, held = decoders.DecodeStream(), []
        elif piece := line.step(tokenizer, number):
            yield piece
            held = []
        else:
            held.append(number)
    if held:
        yield _decode(tokenizer, held)


def _decode(tokenizer: Tokenizer, ids: list[int]) -> str:
    return tokenizer.decode(ids, skip_special_tokens=False)
