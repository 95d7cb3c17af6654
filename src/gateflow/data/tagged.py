"""Sentences whose words have tags, a word a line: the columns of CoNLL's shared tasks, and CoNLL-U."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from gateflow.data import conllu
from gateflow.data.columns import Layout, layout_of
from gateflow.data.source import spoken
from gateflow.data.text import read_lines
from gateflow.errors import DataError

__all__ = ["DOCUMENT", "DOCUMENT_GROUP", "TaggedSentence", "read_tagged"]

DOCUMENT = "-DOCSTART-"
# What is asked for as the group of sentences whose documents are marked.
DOCUMENT_GROUP = "document"


@dataclass(frozen=True)
class TaggedSentence:
    """A sentence out of a file of tagged words.

    Attributes:
        words: one or more.
        tags: a tag for each word, by the column that was asked for, as it was written; nothing where none was.
        line: of its first word in the file, from 1.
        document: how many marks of a document stand before it: 0 in a file without any.
        spaces: whether a space comes after each word; None where the file does not say so.
        group: what the sentence belongs to, as it was asked for; None where it was not.
    """

    words: tuple[str, ...]
    tags: Mapping[str, tuple[str, ...]]
    line: int
    document: int = 0
    spaces: tuple[bool, ...] | None = None
    group: str | None = None


def read_tagged(
    path: str | Path,
    *,
    words: str | None = None,
    columns: Sequence[str] | None = (),
    names: Sequence[str] = (),
    group: str | None = None,
) -> Iterator[TaggedSentence]:
    r"""Yield the sentences of a file in which each line is a word and its tags, and a blank line ends a sentence.

    Columns are separated by tabs if the first word's line has one, else by spaces. CoNLL-U is recognised by its ten
    columns, CoNLL-U Plus by its first line; of both, tokens of several words (``1-2``) and empty nodes (``1.1``) are
    left out, and lines that begin with ``#`` are comments. In other files such a line may be a word. There it is a
    comment if it stands before the first word of its sentence and has not as many columns as the file, or, where spaces
    separate them, begins like ``# text = ``. Documents begin at ``-DOCSTART-``, ``# newdoc`` and ``#begin document``. A
    blank line may hold white space.

    Args:
        path: A UTF-8 file, plain or gzip, a named pipe, or ``-`` for what is piped in. It is read as the sentences are
            taken, one in memory at a time.
        words: The column of the words, by name, or by number from 1, or from the end: ``-1`` is the last one.
            Default: ``form`` if a column has that name, else the first, unless that one counts the words.
        columns: Those of the tags, named likewise. Default: ``upos`` of CoNLL-U; else the last column, which is then
            called ``tag``, unless it is the words'. None reads words alone.
        names: What the columns are called, for files that do not say so. Small and capital letters are the same.
        group: What a sentence belongs to: ``document``, or a column that has the same for all its words.

    Raises:
        DataError: As :func:`gateflow.data.text.read_lines`; or a line has too many or too few columns, a word or tag is
            empty, a column is asked for that is not there or is asked for twice, the words of a sentence are of several
            groups, or there is no sentence. The message names the line.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "names.conll"
        >>> _ = file.write_text("Teddy\tB-person\nslept\tO\n\n곰\tO\n", encoding="utf-8")
        >>> for sentence in read_tagged(file):
        ...     sentence.line, sentence.words, sentence.tags["tag"]
        (1, ('Teddy', 'slept'), ('B-person', 'O'))
        (4, ('곰',), ('O',))
    """
    path = Path(path)
    asked = _Asked(words, columns if columns is None else tuple(columns), tuple(name.lower() for name in names), group)
    return _sentences(spoken(path), _blocks(read_lines(path)), asked)


class _Asked(NamedTuple):
    """What the caller wants: the column of words, those of tags, what the columns are called, and the group."""

    words: str | None
    columns: tuple[str, ...] | None
    names: tuple[str, ...]
    group: str | None


class _Block(NamedTuple):
    """Lines with no blank one between them, or a mark of a document alone."""

    first: int
    lines: list[str]


def _blocks(lines: Iterable[str]) -> Iterator[_Block]:
    held, number = list[str](), 0
    for number, line in enumerate(lines, 1):
        mark = line.startswith(DOCUMENT)
        if line and not mark and not line.isspace():
            held.append(line)
            continue
        if held:
            yield _Block(number - len(held), held)
            held = []
        if mark:
            yield _Block(number, [line])
    if held:
        yield _Block(number - len(held) + 1, held)


def _recognised(path: str, blocks: Iterator[_Block], names: tuple[str, ...]) -> tuple[Layout, Iterator[_Block]]:
    """The layout by the first line that is no comment for certain; and all blocks."""
    held = list[_Block]()
    plus = None
    for block in blocks:
        held.append(block)
        plus = plus or conllu.names_in(held[0].lines[0])
        rows = (k for k, line in enumerate(block.lines) if not line.startswith(("#", DOCUMENT)))
        if (k := next(rows, None)) is not None:
            layout = layout_of(path, block.first + k, block.lines[k], plus, names)
            return layout, chain(held, blocks)
    raise DataError(f"{path} holds no sentence: every line is blank, begins with #, or marks a document.")


class _Chosen(NamedTuple):
    words: int
    tags: dict[str, int]
    group: int | None
    by_document: bool


def _chosen(layout: Layout, asked: _Asked) -> _Chosen:
    words = layout.form if asked.words is None else layout.column(asked.words)
    by_document = asked.group == DOCUMENT_GROUP
    group = None if asked.group is None or by_document else layout.column(asked.group)
    tags = _tags(layout, asked, words)
    found = {"the words": [words], "tags": [column for _, column in tags], "the group": [group]}
    uses = [(column, what) for what, columns in found.items() for column in columns if column is not None]
    for k, (column, what) in enumerate(uses):
        if earlier := next((before for other, before in uses[:k] if other == column), None):
            raise DataError(
                f"{layout.path}: column {column + 1} is asked for twice, as {earlier} and as {what}. Choose another "
                f"column for one of them, or leave one out; there are {layout.width}."
            )
    return _Chosen(words, dict(tags), group, by_document)


def _tags(layout: Layout, asked: _Asked, words: int) -> list[tuple[str, int]]:
    if asked.columns is None:
        return []
    if asked.columns:
        return [(name, layout.column(name)) for name in asked.columns]
    if layout.is_conllu:
        return [("upos", layout.column("upos"))]
    return [("tag", layout.width - 1)] if words != layout.width - 1 else []


def _sentences(path: str, blocks: Iterator[_Block], asked: _Asked) -> Iterator[TaggedSentence]:
    layout, blocks = _recognised(path, blocks, asked.names)
    chosen = _chosen(layout, asked)
    document, most = 0, 0
    for block in blocks:
        comments, lines = _parted(block, layout)
        document += sum(map(_starts_document, comments))
        if lines:
            found = _words_of(lines, layout)
            # By the first sentence of some words; later ones may count.
            if asked.words is None and most < 2:
                _refuse_numbers(found, layout)
            most = max(most, len(lines))
            yield _sentence(found, chosen, document, layout)
    if not most:
        raise DataError(f"{path} holds no sentence: every line is blank, a comment, or marks a document.")


def _starts_document(line: str) -> bool:
    return line.startswith((DOCUMENT, "#begin document")) or conllu.is_start_of_document(line)


def _parted(block: _Block, layout: Layout) -> tuple[list[str], list[tuple[int, str]]]:
    """Comments, and the other lines with their numbers."""
    if block.lines[0].startswith(DOCUMENT):
        return block.lines, []
    numbered = list(enumerate(block.lines, block.first))
    if layout.is_conllu:
        comments = [line for line in block.lines if line.startswith("#")]
        return comments, [(number, line) for number, line in numbered if not line.startswith("#")]
    # Only before the first word: amid a sentence a line that begins with # is a word whose columns are counted.
    k = next((k for k, line in enumerate(block.lines) if not layout.is_comment(line)), len(block.lines))
    return block.lines[:k], numbered[k:]


def _words_of(lines: list[tuple[int, str]], layout: Layout) -> conllu.Words:
    rows = [(number, layout.fields(number, line)) for number, line in lines]
    if layout.id is not None:
        return conllu.words_of(rows, id=layout.id, misc=layout.misc, path=layout.path)
    return conllu.Words([number for number, _ in rows], [row for _, row in rows], None)


def _refuse_numbers(found: conllu.Words, layout: Layout) -> None:
    """Refuse to take for words what counts them, in a file that nobody has said the columns of."""
    first = [row[0] for row in found.rows]
    if layout.form == 0 and layout.width > 1 and len(first) > 1 and first == [str(k) for k in range(1, len(first) + 1)]:
        raise DataError(
            f"{layout.path}, line {found.lines[0]}: the first column counts the words (1, 2 …). "
            f"Say which column holds them, such as 2; it has {layout.width}."
        )


def _sentence(found: conllu.Words, chosen: _Chosen, document: int, layout: Layout) -> TaggedSentence:
    words = tuple([row[chosen.words] for row in found.rows])
    tags = {name: tuple([row[k] for row in found.rows]) for name, k in chosen.tags.items()}
    if "" in words or any("" in column for column in tags.values()):
        raise DataError(_what_is_empty(found, chosen, layout))
    return TaggedSentence(words, tags, found.lines[0], document, found.spaces, _group(found, chosen, document, layout))


def _group(found: conllu.Words, chosen: _Chosen, document: int, layout: Layout) -> str | None:
    if chosen.group is None:
        return str(document) if chosen.by_document else None
    first, *others = [row[chosen.group] for row in found.rows]
    for number, other in zip(found.lines[1:], others, strict=True):
        if other != first:
            raise DataError(
                f"{layout.path}, line {number}: the group in column {chosen.group + 1} is {other!r:.40}, and that of "
                f"line {found.lines[0]}, in the same sentence, {first!r:.40}. Give a sentence one group."
            )
    return first


def _what_is_empty(found: conllu.Words, chosen: _Chosen, layout: Layout) -> str:
    number, k = next(
        (number, k)
        for number, row in zip(found.lines, found.rows, strict=True)
        for k in (chosen.words, *chosen.tags.values())
        if not row[k]
    )
    what = "the word" if k == chosen.words else "the tag"
    return f"{layout.path}, line {number}: {what} in column {k + 1} is empty. Fill it in, or choose another column."
