"""`Translator`: the same training and the same translations as on the command line, in scikit-learn's manner."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

from gateflow.data.parallel import ParallelText
from gateflow.data.text import half_character
from gateflow.errors import ConfigError, DataError
from gateflow.tasks.estimator import Estimator
from gateflow.tasks.translator import TRANSLATOR
from gateflow.tasks.translator.ensemble import Ensemble, refuse_other_tokens
from gateflow.tasks.translator.features import Features
from gateflow.tasks.translator.loading import load_model, load_vocabularies, most_tokens
from gateflow.tasks.translator.measures import Measures
from gateflow.tasks.translator.prediction import Answer, predict
from gateflow.tasks.translator.search import Search, refuse_without_attention

__all__ = ["Translator"]

Source = str | tuple[str, str]
# As `gateflow translate` looks for translations.
BEAM, LENGTH_PENALTY = 5, 1.0


class Translator(Estimator):
    """Makes one sequence of another: sentences of a second language, sounds of spellings, forms of lemmas.

    Args:
        options: those of ``gateflow train translator --help``, with underscores: `cell`, `tokenizer`, `attention`,
            `epochs`, `lr`, … A name that is none is refused here, a value when `fit` begins.
        out: folder of the run; without it a temporary one, which `save` keeps.

    Raises:
        ConfigError: there is no such option.

    Example:
        >>> names = "zero one two three four five six seven eight nine".split()
        >>> X = [f"{number:02}" for number in range(100)]
        >>> y = [" ".join(names[int(digit)] for digit in number) for number in X]
        >>> options = {"hidden_size": 16, "embedding_size": 16, "dropout": 0.0, "lr": 0.02, "batch_size": 8}
        >>> translator = Translator(tokenizer="char", target_tokenizer="word", epochs=20, **options)
        >>> translator.fit(X[10:], y[10:], valid=(X[:10], y[:10])).predict(["42", "07"])
        ['four two', 'zero seven']
    """

    description: ClassVar = TRANSLATOR
    of_fit: ClassVar = frozenset({"train", "target_data", "valid", "target_valid", "source", "target", "features"})
    called_here: ClassVar = {
        "--" + name.replace("_", "-"): name
        for name in ("beam", "nbest", "min_length", "max_length", "coverage_penalty", "replace_unknown", "ensemble")
    }

    def __sklearn_tags__(self) -> Any:
        """What `cross_val_score` and `GridSearchCV` ask of an estimator."""
        from sklearn.utils import Tags, TargetTags

        return Tags(estimator_type=None, target_tags=TargetTags(required=True))

    def fit(
        self,
        X: str | Path | Sequence[Source],
        y: Sequence[str] | Sequence[Sequence[str]] | None = None,
        *,
        valid: str | Path | tuple[Sequence[Source], Any] | None = None,
        force: bool = False,
        **columns: str,
    ) -> Self:
        """Learn from pairs; the weights of the best validation are kept.

        Args:
            X: a file, or two with a comma between them, as of ``--data``; or sources, each a text, or a text and its
                features.
            y: the target of each source, or a list of all that are right. Left out where `X` is a file.
            valid: a file, or a pair like `X, y`, to validate on; else a tenth of `X`, drawn.
            force: replace the run that is at `out`.
            columns: `source`, `target` and `features` of a file, as on the command line.

        Raises:
            ConfigError, DataError, RunError: as the training on the command line.
        """
        parts: dict[str, Path | list[ParallelText]] = {"train": _part(X, y)}
        if valid is not None:
            parts["valid"] = _part(*((valid, None) if isinstance(valid, str | Path) else valid))
        given = {name: part for name, part in parts.items() if isinstance(part, list)}
        # What was given has no file; in config.toml and in messages it is called as here.
        files = {name: part if isinstance(part, Path) else _CALLED[name] for name, part in parts.items()}
        if any(pair.features for part in given.values() for pair in part):
            columns = {"features": "features"} | columns
        self._train(self._set_up({**files, **columns}, force=force, given=given))
        return self

    def predict(self, X: Iterable[Source], **search: Any) -> list[str]:
        """The best translation of each source; options as of `answers`."""
        return [answer.best.text for answer in self.answers(X, **search)]

    def answers(
        self,
        X: Iterable[Source],
        *,
        beam: int = BEAM,
        nbest: int = 1,
        length_penalty: float = LENGTH_PENALTY,
        coverage_penalty: float = 0.0,
        min_length: int = 0,
        max_length: int | None = None,
        replace_unknown: bool = False,
        ensemble: Iterable[Translator] = (),
    ) -> Iterator[Answer]:
        """All that the translator says of each source, see `gateflow.tasks.translator.prediction.predict`.

        Args:
            X: sources, each a text, or a text and its features.
            beam, nbest, length_penalty, coverage_penalty, min_length, max_length, replace_unknown: as of
                ``gateflow translate``.
            ensemble: other translators with the same tokens, whose probabilities are averaged with those of this one.

        Raises:
            ConfigError: more translations than hypotheses are asked for; another translator does not fit; the search
                takes attention, and there is none.
        """
        model, vocabularies = self._loaded()
        with self.in_words_of_python():
            search = Search(
                self.most_tokens_ if max_length is None else max_length,
                beam=beam,
                nbest=nbest,
                length_penalty=length_penalty,
                coverage_penalty=coverage_penalty,
                least=min_length,
                replace_unknown=replace_unknown,
            )
            # Once: of an iterator a second look would find nothing, and the answers would be those of one alone.
            others = list(ensemble) if isinstance(ensemble, Iterable) else None
            if others is None or not all(isinstance(other, Translator) for other in others):
                raise ConfigError(f"ensemble={ensemble!r:.80}: give translators in a list, [Translator.load(RUN)] say.")
            runs = [self._run.path.resolve()]
            for other in others:
                refuse_other_tokens(other._run, other.vocabularies_, vocabularies)
                if (path := other._run.path.resolve()) in runs:
                    raise ConfigError(f"ensemble: the run {path} is there already, and counts once; name others.")
                runs.append(path)
            if others:
                model = Ensemble([model, *(other.model_ for other in others)])
            refuse_without_attention(search, model)
        pairs = (_pair(source, (), i) for i, source in enumerate(_sources(X)))
        return predict(model, vocabularies, Features(vocabularies, "source").looked_at(pairs), search)

    def score(self, X: Sequence[Source], y: Sequence[str] | Sequence[Sequence[str]]) -> float:
        """The share of translations that are exactly right.

        Raises:
            DataError: there are no sources, or not as many targets.
        """
        pairs, measures = _pairs(X, y), Measures()
        units = self._loaded()[1].target.units
        for pair, answer in zip(pairs, self.answers(X), strict=True):
            measures.add([units(text) for text in pair.targets], units(answer.best.text))
        return measures.figures()["exact_match"]

    def _loaded(self) -> Any:
        return self._run and (self.model_, self.vocabularies_)

    def _take(self, run: Any) -> None:
        # With the underscore that scikit-learn gives to what is learnt.
        self.run_, self.vocabularies_, self.most_tokens_ = run, load_vocabularies(run), most_tokens(run)
        self.model_ = load_model(run, self.vocabularies_)


_CALLED = {"train": Path("X"), "valid": Path("valid")}


def _part(X: Any, y: Any) -> Path | list[ParallelText]:
    """A file of pairs, or the pairs that are given."""
    if isinstance(X, str | Path):
        if y is not None:
            raise ConfigError("X is the name of a file, which has the targets too; leave y out, or give lists.")
        return Path(X)
    if y is None:
        raise DataError("sources were given without targets; give fit both, as fit(X, y), or the name of a file.")
    return _pairs(X, y)


def _pairs(X: Sequence[Source], y: Any) -> list[ParallelText]:
    if not len(X) or len(X) != len(y):
        raise DataError(f"{len(X)} sources were given and {len(y)} targets; give one for each, and at least one.")
    return [_pair(source, targets, i) for i, (source, targets) in enumerate(zip(_sources(X), y, strict=True))]


def _sources(X: Iterable[Source]) -> Iterable[Source]:
    if isinstance(X, str):
        raise DataError(f"{X!r:.60} is one text; give a list of sources, as ['{X!s:.20}'].")
    return X


def _pair(source: Source, targets: Any, i: int) -> ParallelText:
    parts = (source, "") if not isinstance(source, tuple) else source
    right = (targets,) if not isinstance(targets, list | tuple) else tuple(targets)
    if len(parts) != 2 or not all(isinstance(text, str) for text in (*parts, *right)):
        raise DataError(f"source {i} is {source!r:.60}, its target {targets!r:.60}; give texts.")
    if any(half_character(text) is not None for text in (*parts, *right)):
        raise DataError(
            f"source {i} or its target holds half of a character, {source!r:.60}, {targets!r:.60}; read it anew."
        )
    # In training each side has something to be learnt; a blank source has the blank translation.
    if right and not all(text.strip() for text in (parts[0], *right)):
        raise DataError(f"source {i} or its target is empty; leave the pair out, or give it both sides.")
    return ParallelText(parts[0], right, parts[1], line=i)
