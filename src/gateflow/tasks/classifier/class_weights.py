"""What a mistake costs, label by label: as it is typed, and as the loss needs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gateflow.errors import ConfigError, among

__all__ = ["BALANCED", "class_weights", "parse_class_weights"]

BALANCED = "balanced"


def parse_class_weights(text: str) -> Mapping[str, float] | str | None:
    """Weights by label, ``balanced``, or none for an empty text.

    Raises:
        ValueError: it is none of these.

    Example:
        >>> parse_class_weights("pos=2,neg=0.5"), parse_class_weights("balanced"), parse_class_weights("")
        ({'pos': 2.0, 'neg': 0.5}, 'balanced', None)
    """
    if text in ("", BALANCED):
        return text or None
    found: dict[str, float] = {}
    for part in text.split(","):
        # The last one: a label may hold such a sign.
        label, mark, number = part.rpartition("=")
        try:
            weight = float(number)
        except ValueError:
            weight = 0.0
        if not mark or not 0 < weight < float("inf"):
            raise ValueError("write it as pos=2,neg=1, with numbers above 0, or as balanced")
        found[label.strip()] = weight
    return found


def class_weights(
    text: str, counts: Mapping[str, int], texts: int, multi_label: bool = False
) -> Sequence[float] | None:
    """The weight of each label; none if all are 1.

    ``balanced`` gives ``n / (K n_k)`` as scikit-learn has it: every label weighs the same in all. Where a text may have
    several labels it is ``(n - n_k) / n_k``, by which having a label weighs as much as not having it.

    Args:
        text: as for `parse_class_weights`.
        counts: texts of each label, in the order of the labels.
        texts: how many texts there are.
        multi_label: whether a text may have several.

    Raises:
        ConfigError: a label that there is not.

    Source: King, Zeng (2001). Logistic regression in rare events data. Political Analysis 9(2).

    Example:
        >>> class_weights("balanced", {"neg": 30, "pos": 10}, 40)
        [0.6666666666666666, 2.0]
    """
    asked = parse_class_weights(text)
    if asked is None:
        return None
    if isinstance(asked, str):
        n, few = texts, {label: max(count, 1) for label, count in counts.items()}
        return [(n - count) / count if multi_label else n / (len(counts) * count) for count in few.values()]
    if strangers := sorted(asked.keys() - counts.keys()):
        raise ConfigError(
            f"--class-weights: no text has the label {strangers[0]!r:.80}; {among(strangers[0], counts):.300}."
        )
    return [asked.get(label, 1.0) for label in counts]
