r"""Words and sentences of raw text, each with its place in the text: what a tagger reads where nobody has split it.

Words are cut as English treebanks cut them, by rules that need no list of words but one of abbreviations; scripts
without capital letters and small ones fare as well as their spaces and punctuation let them. The rules, the first that
fits:

* An address of the web (``http://``, ``www.``) or of e-mail is one word, without punctuation at its end.
* ``@`` or ``#`` and letters, digits and ``_``, of which one is no digit, are one word.
* An emoticon such as ``:-)`` between spaces is one word.
* Letters with a full stop each (``U.S.``), some abbreviations (``Dr.``), and an initial (``J. Smith``) keep it.
* A word is a run of all that is neither white space nor, by Unicode, punctuation (P) or a symbol (S); ``_`` counts as
  a letter. It goes on over an apostrophe between letters, a full stop before a small letter or digit, ``, : /`` between
  digits, and a hyphen, unless hyphens are to be split.
* Of a word with an apostrophe between letters from a to z, the end ``n't 's 're 've 'll 'd 'm`` is a word of its own.
* Full stops, question and exclamation marks in a row are one word; so is a row of the same ``- = * ~ + < > $ / #``.
* An emoji with what changes it is one word; every other punctuation mark or symbol is one by itself.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import cache
from itertools import groupby, pairwise
from typing import NamedTuple

__all__ = ["Word", "composed", "lowered", "split_sentences", "split_words"]

_ABBREVIATIONS = (
    "Mr Mrs Ms Dr Drs Prof St Sts Jr Sr Inc Ltd LTD Co Corp Bros vs etc cf al approx dept est "
    "Jan Feb Mar Apr Jun Jul Aug Sept Sep Oct Nov Dec Gov Sen Rep Gen Col Capt Lt Sgt Rev Hon Mt Ave Blvd"
)
_CLITICS = frozenset("n't 's 're 've 'll 'd 'm n’t ’s ’re ’ve ’ll ’d ’m".split())
_STOPS = ".!?…"
# After these a sentence ends without a space too: Chinese and Japanese have none.
_WIDE_STOPS = "。！？"
_CLOSING = frozenset("\"'”’»›)]}」』）")
_OPENING = frozenset("\"'“‘«‹([{「『（¿¡")


class Word(NamedTuple):
    """A word, and where it stands: ``text == source[begin:end]``."""

    text: str
    begin: int
    end: int


def split_words(text: str, *, split_hyphens: bool = False) -> list[Word]:
    """The words of a text in order, by the rules above; between them is nothing but white space.

    Args:
        text: of any length, with or without lines.
        split_hyphens: ``well-known`` is three words, as in the English treebanks of today, instead of one, as in most
            data of named entities.

    Example:
        >>> [word.text for word in split_words("Teddy's bears don't cost $3.50 (see www.bears.org).")]
        ['Teddy', "'s", 'bears', 'do', "n't", 'cost', '$', '3.50', '(', 'see', 'www.bears.org', ')', '.']
        >>> split_words("곰은 잔다.")
        [Word(text='곰은', begin=0, end=2), Word(text='잔다', begin=3, end=5), Word(text='.', begin=5, end=6)]
    """
    return list(_words(text, 0, split_hyphens))


def split_sentences(text: str, *, split_hyphens: bool = False) -> list[list[Word]]:
    r"""The words of a text, sentence by sentence.

    A sentence ends with its line. It also ends after ``. ! ? …``, with quotes and brackets that close, where white
    space follows, and then, after quotes and brackets that open, a letter that is no small one; after ``。！？``
    wherever they stand. So ``Dr. Smith`` and ``at 3 p.m. today`` do not end a sentence; nor does, which is wrong at
    times, ``in the U.S. He left``.

    Args:
        text: of any length.
        split_hyphens: as for `split_words`.

    Example:
        >>> [[word.text for word in sentence] for sentence in split_sentences("Dr. Lee slept. The bear\ntoo")]
        [['Dr.', 'Lee', 'slept', '.'], ['The', 'bear'], ['too']]
    """
    sentences, begin = list[list[Word]](), 0
    for line in text.split("\n"):
        sentences += _parted(list(_words(line, begin, split_hyphens)))
        begin += len(line) + 1
    return sentences


def lowered(word: str) -> str:
    """A word in small letters, in Unicode's composed form: as a vocabulary knows it.

    Example:
        >>> lowered("Teddy")
        'teddy'
    """
    return composed(word).lower()


def composed(text: str) -> str:
    """A text in Unicode's composed form (NFC): Hangul may come as syllables or as their parts, and is the same word.

    Example:
        >>> len("\u1100\u1169\u11b7"), composed("\u1100\u1169\u11b7")
        (3, '곰')
    """
    # Most words are spared the search.
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def _words(line: str, offset: int, split_hyphens: bool) -> Iterator[Word]:
    for match in _pattern(split_hyphens).finditer(line):
        text, begin = match[0], match.start() + offset
        # Nearly all words are letters alone, which is seen at once.
        if text.isalnum() or match.lastgroup != "word":
            yield Word(text, begin, begin + len(text))
            continue
        for part in _without_clitics(text):
            yield Word(part, begin, begin + len(part))
            begin += len(part)


def _without_clitics(word: str) -> list[str]:
    """The word cut before each clitic at its end, as in `should|n't|'ve`."""
    ends, end = [len(word)], len(word)
    while (begin := _begin_of_clitic(word, end)) is not None:
        ends.append(begin)
        end = begin
    ends = [0, *reversed(ends)]
    return [word[begin:end] for begin, end in pairwise(ends)]


def _begin_of_clitic(word: str, end: int) -> int | None:
    for begin in (end - 2, end - 3):
        # No clitic without a word before it, and none of other alphabets.
        before = word[begin - 1] if begin > 0 else ""
        if word[begin:end].lower() in _CLITICS and before.isascii() and before.isalpha():
            return begin
    return None


def _parted(words: list[Word]) -> Iterator[list[Word]]:
    """The words of a line, by sentences."""
    begin = k = 0
    while k < len(words):
        stop = words[k].text[-1]
        k += 1
        if stop not in _STOPS + _WIDE_STOPS or not _is_stop(words[k - 1].text):
            continue
        while k < len(words) and words[k].text in _CLOSING and words[k].begin == words[k - 1].end:
            k += 1
        if stop in _WIDE_STOPS or _begins_sentence(words, k):
            yield words[begin:k]
            begin = k
    if begin < len(words):
        yield words[begin:]


def _is_stop(word: str) -> bool:
    return all(character in _STOPS + _WIDE_STOPS for character in word)


def _begins_sentence(words: list[Word], k: int) -> bool:
    if k == len(words) or words[k].begin == words[k - 1].end:
        return False
    while k < len(words) - 1 and words[k].text in _OPENING and words[k].end == words[k + 1].begin:
        k += 1
    first = words[k].text[0]
    return first.isalpha() and not first.islower()


@cache
def _pattern(split_hyphens: bool) -> re.Pattern[str]:
    """The rules as one expression. No alternative looks further than it takes, or only a bounded way, and none gives
    back what it took: the time is linear in the length of the text.

    Only what has one character each time is told so by a ``+``: before Python 3.11.5 a group with one keeps what its
    last, unfinished round has read (python/cpython#106052). Groups stand where nothing after them could take any of it.
    """
    letter = rf"[^\s{_marks('PS')}]"
    symbol = f"[{_marks('S')}]"
    within = rf"\.(?=[a-z0-9])|(?<=\d)[,:/](?=\d)|(?<=[^\W\d_])['’](?=[^\W\d_]){'' if split_hyphens else '|[-‐‑]'}"
    known = _ABBREVIATIONS.replace(" ", "|")
    end = r"[^\s.,;:!?'\"’”)\]}>…]"
    # RFC 5321 bounds the parts of an e-mail's address; without a bound, a run that has no @ would be read many times.
    rules = {
        "url": rf"(?:https?://|ftp://|www\.)(?:[.,;:!?'’)\]}}…]*+{end})+",
        "email": r"(?<![\w.+-])[\w.+-]{1,64}+@\w(?:[\w-]{0,62}\.){1,8}\w{2,63}(?!\w)",
        "mention": r"(?<!\w)[@#](?=\d*+[^\W\d])\w++",
        "emoticon": r"(?<!\S)[:;=][-'^]?[()\[\]DPp/\\|](?!\S)",
        "abbreviation": rf"(?<!{letter})(?:(?:(?:[^\W\d_]\.){{2,8}}|(?:{known})\.)(?!{letter})"
        rf"|[A-HJ-Z]\.(?= ?[A-Z]))",
        "clitic": rf"(?<=[^\W\d_]\.)['’](?:s|re|ve|ll|d|m)(?!{letter})",
        "word": rf"{letter}++(?:(?:{within}){letter}++)*",
        "stops": rf"[{_STOPS}{_WIDE_STOPS}]++",
        "row": r"(?P<same>[-=*~+<>$/#])(?P=same)*",
        "emoji": rf"[\U0001F1E6-\U0001F1FF]{{2}}|{symbol}[\ufe0e\ufe0f\u20e3\U0001F3FB-\U0001F3FF]*+"
        rf"(?:\u200d{symbol}[\ufe0e\ufe0f\U0001F3FB-\U0001F3FF]*+)*",
        "rest": r"\S",
    }
    return re.compile("|".join(f"(?P<{name}>{rule})" for name, rule in rules.items()))


def _marks(kinds: str) -> str:
    """All characters of these kinds by Unicode, as the inside of a regular expression's class."""
    # Beyond the second plane there are none. The low line is punctuation too, and here a letter.
    of_kind = [k for k in range(0x20000) if unicodedata.category(chr(k))[0] in kinds and chr(k) != "_"]
    runs = (list(run) for _, run in groupby(enumerate(of_kind), lambda pair: pair[1] - pair[0]))
    ends = ((run[0][1], run[-1][1]) for run in runs)
    return "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in ends)
