"""`Tagger`: the same training and the same predictions as on the command line, in scikit-learn's manner."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, ClassVar, Self

from gateflow.data.spans import converted, find_scheme
from gateflow.data.tagged import DOCUMENT, TaggedSentence
from gateflow.data.text import half_character
from gateflow.errors import ConfigError, DataError, among
from gateflow.tasks.estimator import Estimator
from gateflow.tasks.tagger import TAGGER
from gateflow.tasks.tagger.loading import load_model, load_vocabulary
from gateflow.tasks.tagger.measures import Measures
from gateflow.tasks.tagger.model import TaggerModel
from gateflow.tasks.tagger.prediction import Answer, predict, refuse_no_crf
from gateflow.tasks.tagger.vocabulary import Vocabulary

__all__ = ["Tagger"]

Words = Sequence[str]


class Tagger(Estimator):
    """Gives each word of a sentence a tag: names, parts of speech, whatever the examples have.

    Args:
        options: those of ``gateflow train tagger --help``, with underscores: `cell`, `hidden_size`, `crf`, `epochs`,
            `lr`, `dropout`, `patience`, … A name that is none is refused here, a value when `fit` begins.
        out: folder of the run; without it a temporary one, which `save` keeps.

    Raises:
        ConfigError: there is no such option.

    Example:
        >>> X = [["Teddy", "bears", "sleep"], ["Teddy", "Roosevelt", "sleeps"]] * 8
        >>> y = [["O", "O", "O"], ["B-PER", "I-PER", "O"]] * 8
        >>> tagger = Tagger(hidden_size=16, embedding_size=8, characters="none", epochs=40, lr=0.02).fit(X, y)
        >>> tagger.predict([["Teddy", "Roosevelt", "sleeps"], ["Teddy", "bears", "sleep"]])
        [['B-PER', 'I-PER', 'O'], ['O', 'O', 'O']]
        >>> tagger.get_params()["cell"]
        'lstm'
    """

    description: ClassVar = TAGGER
    called_here: ClassVar = {"--nbest": "n_best"}

    def __sklearn_tags__(self) -> Any:
        """What `cross_val_score` and `GridSearchCV` ask of an estimator."""
        from sklearn.utils import Tags, TargetTags

        return Tags(estimator_type=None, target_tags=TargetTags(required=True))

    def fit(
        self,
        X: str | Path | Sequence[Words],
        y: Sequence[Words] | Mapping[str, Sequence[Words]] | None = None,
        *,
        valid: str | Path | tuple[Sequence[Words], Any] | None = None,
        force: bool = False,
    ) -> Self:
        """Learn from tagged sentences; the weights of the best validation are kept.

        Args:
            X: a file as of ``--data``, or sentences as lists of words.
            y: the tags of each sentence; several columns by name. Left out where `X` is a file.
            valid: a file, or a pair like `X, y`, to validate on; else the last tenth of `X`.
            force: replace the run that is at `out`.

        Raises:
            ConfigError, DataError, RunError: as the training on the command line.
        """
        parts: dict[str, Path | list[TaggedSentence]] = {"train": _part(X, y)}
        if valid is not None:
            parts["valid"] = _part(*((valid, None) if isinstance(valid, str | Path) else valid))
        given = {name: part for name, part in parts.items() if isinstance(part, list)}
        # What was given has no file; in config.toml and in messages it is called as here.
        files = {name: Path("X" if name == "train" else name) for name in given} | {
            name: part for name, part in parts.items() if isinstance(part, Path)
        }
        columns = {} if y is None else _columns(y)
        self._train(self._set_up({**files, **columns}, force=force, given=given))
        return self

    def predict(self, X: Iterable[Words]) -> list[Any]:
        """The tags of each sentence: a list of tags, or with several columns a dictionary of such lists.

        Tags of entities are those of IOB2, whatever the examples had.
        """
        return [self._plain(answers) for answers in self.answers(X)]

    def predict_spans(self, X: Iterable[Words]) -> list[list[tuple[str, int, int, float]]]:
        """The entities of each sentence: type, first word, the word after the last, probability of the whole."""
        (column, *_) = [c.name for c in self._loaded()[1].columns if c.scheme] or [None]
        if column is None:
            raise ConfigError(
                "no column of this tagger marks entities, so there are no spans; ask predict for its tags."
            )
        answers = self.answers(X, probabilities=True)
        return [[(span.type, span.begin, span.end, p) for span, p in answer[column].spans] for answer in answers]

    def answers(
        self, X: Iterable[Words], *, probabilities: bool = False, n_best: int = 0
    ) -> Iterator[dict[str, Answer]]:
        """All that the tagger says of each sentence, by column; see `gateflow.tasks.tagger.prediction.predict`.

        Raises:
            ConfigError: several sequences are asked for, and the tagger has no CRF to compare them.
        """
        model, vocabulary = self._loaded()
        with self.in_words_of_python():
            refuse_no_crf(model, n_best)
        return predict(model, vocabulary, _words(X), probabilities=probabilities, n_best=n_best)

    def score(self, X: Sequence[Words], y: Sequence[Words] | Mapping[str, Sequence[Words]]) -> float:
        """The share of words whose tag is right, the mean over the columns; entities may be marked in any scheme.

        Raises:
            DataError: there are no words, or not as many tags as words.
            ConfigError: there is no such column.
        """
        columns = y if isinstance(y, Mapping) else {column.name: y for column in self._loaded()[1].columns[:1]}
        known = [column.name for column in self._loaded()[1].columns]
        if strangers := [name for name in columns if name not in known]:
            has = among(strangers[0], known, what="it has")
            raise ConfigError(f"this tagger has no column {strangers[0]!r:.80}; {has}.")
        _refuse_misfit(X, columns)
        answers = list(self.answers(X))
        shares = [self._share_of_right(name, [a[name].tags for a in answers], gold) for name, gold in columns.items()]
        return fmean(shares)

    def _share_of_right(self, name: str, found: Sequence[Words], gold: Sequence[Words]) -> float:
        column = next(column for column in self.vocabulary_.columns if column.name == name)
        # Both in one scheme: tags that say the same in other letters are right.
        scheme = find_scheme(gold) or "IOB2"
        measures = Measures(column.scheme)
        for tags, right in zip(found, gold, strict=True):
            measures.add(list(right) if column.scheme is None else converted(right, scheme, column.scheme), tags)
        if not measures.words:
            raise DataError("score was given no words; give at least one sentence.")
        return measures.accuracy

    def _loaded(self) -> tuple[TaggerModel, Vocabulary]:
        return self._run and (self.model_, self.vocabulary_)

    def _take(self, run: Any) -> None:
        # With the underscore that scikit-learn gives to what is learnt.
        self.run_, self.vocabulary_ = run, load_vocabulary(run)
        self.model_ = load_model(run, self.vocabulary_)

    def _plain(self, answers: Mapping[str, Answer]) -> Any:
        schemes = {column.name: column.scheme for column in self.vocabulary_.columns}
        found = {name: _as_iob2(answer.tags, schemes[name]) for name, answer in answers.items()}
        return next(iter(found.values())) if len(found) == 1 else found


def _as_iob2(tags: list[str], scheme: str | None) -> list[str]:
    return tags if scheme is None else converted(tags, scheme, "IOB2")


def _columns(y: Sequence[Words] | Mapping[str, Sequence[Words]]) -> dict[str, str]:
    """How the columns of what is given as lists are called in the file that they are written to."""
    names = list(y) if isinstance(y, Mapping) else ["tag"]
    return {"names": ",".join(["word", *names]), "columns": ",".join(names), "words": "word"}


def _part(X: str | Path | Sequence[Words], y: Any) -> Path | list[TaggedSentence]:
    """A file of tagged sentences, or the sentences that are given."""
    if isinstance(X, str | Path):
        return Path(X)
    tags = {"tag": y} if not isinstance(y, Mapping) else y
    if y is None or not tags:
        raise DataError("sentences were given without tags; give fit both, as fit(X, y), or the name of a file.")
    if not any(len(words) for words in X):
        raise DataError("fit was given no sentences; give some, as fit([['Teddy', 'sleeps']], [['B-PER', 'O']]).")
    _refuse_misfit(X, tags)
    rows = [_sentence(i, words, {name: column[i] for name, column in tags.items()}) for i, words in enumerate(X)]
    # Nothing is learnt from a sentence without words.
    return [row for row in rows if row.words]


def _refuse_misfit(X: Sequence[Words], tags: Mapping[str, Sequence[Words]]) -> None:
    for name, column in tags.items():
        if len(column) != len(X):
            raise DataError(
                f"{len(X)} sentences were given and {len(column)} rows of {name}; give one for each sentence."
            )


def _words(X: Iterable[Words]) -> Iterator[Words]:
    """The sentences; a text is none, though it too can be gone through piece by piece."""
    if isinstance(X, str):
        raise DataError(f"{X!r:.60} is a text; give lists of words, as [['Teddy', 'sleeps']].")
    for words in X:
        if isinstance(words, str):
            raise DataError(f"{words!r:.60} is a text and no list of words; give [['Teddy', 'sleeps']].")
        yield words


def _sentence(i: int, words: Words, tags: Mapping[str, Words]) -> TaggedSentence:
    for name, row in tags.items():
        # First: a text has a length too, that of its letters.
        if isinstance(words, str) or isinstance(row, str):
            raise DataError(f"sentence {i} is a text and no list of words and of tags; give lists of both.")
        if len(row) != len(words):
            raise DataError(f"sentence {i} has {len(words)} words and {len(row)} tags of {name}; give one for each.")
        for text in (*words, *row):
            if isinstance(text, str) and text.startswith(DOCUMENT):
                raise DataError(f"sentence {i} holds {text!r:.80}, which marks a document in files; leave it out.")
            if not isinstance(text, str) or not text.strip() or any(mark in text for mark in "\t\n\r"):
                raise DataError(f"sentence {i} holds {text!r:.80}; a word or tag is a text without tabs and line ends.")
            if half_character(text) is not None:
                raise DataError(f"sentence {i} holds half of a character, {text!r:.80}; read it anew from its source.")
    return TaggedSentence(tuple(words), {name: tuple(row) for name, row in tags.items()}, line=i)
