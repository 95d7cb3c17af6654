"""`Transcriber`: the same training and the same answers as on the command line, in scikit-learn's manner."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Self

from gateflow.data.series import Series
from gateflow.errors import ConfigError, DataError
from gateflow.tasks.estimator import Estimator
from gateflow.tasks.transcriber import TRANSCRIBER
from gateflow.tasks.transcriber.config import TranscriberConfig
from gateflow.tasks.transcriber.given import for_each, kind_of_given, lines_of, rate_of_given, with_texts
from gateflow.tasks.transcriber.learnt import Learnt
from gateflow.tasks.transcriber.loading import input_of, load
from gateflow.tasks.transcriber.measures import Errors, character_errors
from gateflow.tasks.transcriber.prediction import Answer, predict
from gateflow.tasks.transcriber.search import decoding_of

__all__ = ["Transcriber"]


class Transcriber(Estimator):
    """Writes down what stands in the picture of a line, what is said in a recording, or what a pen has written.

    Lines are names of files; arrays: grey values ``[height, width]``, samples ``[samples]`` with the option `rate`
    (floating-point numbers from -1 to 1, or integers of 8 to 32 bits), or points ``[x, y, pen]`` (`input="strokes"`);
    or one list or folder as of ``--data``.

    Args:
        options: those of ``gateflow train transcriber --help``, with underscores: `cell`, `hidden_size`, `height`,
            `reduce`, `bidirectional`, `epochs`, `lr`, `augment`, … A name that is none is refused here, a value when
            `fit` begins.
        out: folder of the run; without it a temporary one, which `save` keeps.

    Raises:
        ConfigError: there is no such option.

    Example:
        >>> import numpy as np
        >>> from gateflow.data.strokes.cursive import cursive
        >>> random, y = np.random.default_rng(0), ["ill", "oil", "lo"] * 8
        >>> X = [cursive(text, random) for text in y]
        >>> small = {"hidden_size": 16, "layers": 1, "front_size": 16, "spacing": 0.7, "dropout": 0.0}
        >>> transcriber = Transcriber(**small, augment=False, batch_size=4, epochs=50, lr=0.02)
        >>> valid = [cursive(text, random) for text in y[:3]]
        >>> transcriber.fit(X, y, valid=(valid, y[:3])).predict(valid)
        ['ill', 'oil', 'lo']
    """

    description: ClassVar = TRANSCRIBER

    def fit(
        self,
        X: str | Path | Sequence[Any],
        y: Sequence[str] | None = None,
        *,
        valid: str | Path | tuple[Sequence[Any], Sequence[str]] | None = None,
        groups: Sequence[Any] | None = None,
        force: bool = False,
    ) -> Self:
        """Learn from lines and their texts; the weights of the best validation are kept.

        Args:
            X: a list of paths and texts or a folder, as of ``--data``; or lines.
            y: the text of each line; left out where `X` is a file or folder.
            valid: a file or folder, or a pair like `X, y`, to validate on; else a tenth of `X`, drawn.
            groups: the writer or speaker of each line: none of them is in both parts.
            force: replace the run that is at `out`.

        Raises:
            ConfigError, DataError, RunError: as the training on the command line.
        """
        is_path = isinstance(X, str | Path)
        if is_path and (y is not None or groups is not None):
            raise DataError("X is a file or folder, which has its texts; leave y and groups out, or give lines.")
        data: dict[str, Any] = {"train": X if is_path else Path("X")}
        given: dict[str, Any] = {}
        more: dict[str, dict[str, Any]] = {}
        if not isinstance(X, str | Path):
            X = list(X)
            kind = vars(self)["input"] if vars(self)["input"] != "auto" else kind_of_given(X)
            data["input"] = kind
            if kind == "sound" and vars(self)["rate"] is None and not isinstance(X[0], str | Path):
                raise ConfigError("samples are given, and not how many a second has; say rate=16000, for example.")
            more = {"sounds": {"rate": rate_of_given(X)}} if kind == "sound" and vars(self)["rate"] is None else {}
            given["train"] = partial(_lines, X, y, groups)
        if isinstance(valid, str | Path):
            data["valid"] = valid
        elif valid is not None:
            data["valid"], given["valid"] = Path("valid"), partial(_lines, *valid, None)
        self._train(self._set_up(data, force=force, given=given, more=more))
        return self

    def predict(self, X: str | Path | Iterable[Any], **search: Any) -> list[str]:
        """The text of each line; see `answers` for `search`."""
        return [answer.text for answer in self.answers(X, **search)]

    def answers(
        self,
        X: str | Path | Iterable[Any],
        *,
        beam: int | None = None,
        nbest: int = 1,
        lm: str | Path | None = None,
        lm_weight: float = 0.5,
        insertion: float = 0.0,
    ) -> Iterator[Answer]:
        """All that the transcriber says of each line: the text, where each character is, the next likeliest texts.

        Args:
            X: lines, or a file or folder of them.
            beam: texts that a search keeps; 0 takes the likeliest character of each step by itself.
            nbest: texts of each line.
            lm: run of a language model of characters or words to search with.
            lm_weight: how much it counts.
            insertion: what each character adds to a text's score.

        Raises:
            ConfigError, DataError, RunError: as ``gateflow transcribe``.
        """
        learnt, config = self._learnt, self._run.config()
        with self.in_words_of_python():
            path = None if lm is None else Path(lm)
            decoding = decoding_of(learnt.alphabet, beam, nbest, path, lm_weight, insertion)
            is_path = isinstance(X, str | Path)
            found = for_each(input_of(config).read(Path(X), config)) if is_path else lines_of(X, config)
            return predict(learnt, map(learnt.encoder.fitting, found), decoding=decoding)

    def score(self, X: Sequence[Any], y: Sequence[str]) -> float:
        """One minus the character error rate: 1 where all is right, and below 0 where more is wrong than there is.

        Raises:
            DataError: there are no lines, or not as many texts.
        """
        learnt = self._learnt
        lines = [learnt.encoder.fitting(line) for line in _lines(X, y, None, self._run.config())]
        given = [answer.text for answer in predict(learnt, lines)]
        return 1 - sum(character_errors([str(line.label) for line in lines], given), Errors()).rate

    @property
    def _learnt(self) -> Learnt:
        return self._run and Learnt(self.model_, self.encoder_, self.alphabet_)

    def _take(self, run: Any) -> None:
        # With the underscore that scikit-learn gives to what is learnt.
        self.model_, self.encoder_, self.alphabet_ = load(run)
        self.run_ = run


def _lines(X: Sequence[Any], y: Sequence[str] | None, groups: Any, config: TranscriberConfig) -> list[Series]:
    """Lines with their texts, as a run reads them."""
    if y is None:
        raise DataError("lines were given without texts; give both, as fit(X, y), or the name of a file or folder.")
    return with_texts(X, y, config, groups)
