"""The layers that read a sequence, recurrent ones or a Transformer, as the options of a task say."""

from __future__ import annotations

from typing import Any

from gateflow.errors import ConfigError
from gateflow.layers import Recurrent, Transformer

__all__ = ["SequenceLayers", "sequence_layers"]

SequenceLayers = Recurrent | Transformer


def sequence_layers(
    model: str,
    input_size: int,
    hidden_size: Any,
    *,
    num_layers: int | None,
    dropout: float,
    causal: bool,
    input_scale: float = 1.0,
    **options: Any,
) -> SequenceLayers:
    """Layers of one kind or the other, called alike.

    Args:
        model: "recurrent" or "transformer".
        input_size, hidden_size, num_layers: as both take them.
        dropout: share dropped between recurrent layers, with one mask for a sequence; within those of a Transformer.
        causal: whether a step of a Transformer sees none that come after it.
        input_scale: of a Transformer's inputs.
        options: others of that kind, `cell` for recurrent ones.

    Raises:
        ConfigError: there is no such kind, or its options cannot work.

    Example:
        >>> same = {"num_layers": 1, "dropout": 0.0, "causal": True}
        >>> [type(sequence_layers(model, 3, 8, **same, **more)).__name__ for model, more in (
        ...     ("recurrent", {"cell": "gru"}), ("transformer", {"heads": 2}))]
        ['Recurrent', 'Transformer']
    """
    if model not in ("recurrent", "transformer"):
        raise ConfigError(f'model must be "recurrent" or "transformer", found {model!r:.80}.')
    if model == "transformer":
        of_both: dict[str, Any] = {"num_layers": num_layers or 1, "dropout": dropout, "input_scale": input_scale}
        return Transformer(input_size, hidden_size, causal=causal, **of_both, **options)
    cell = options.pop("cell")
    return Recurrent(
        cell, input_size, hidden_size, num_layers=num_layers, **{"variational_dropout": dropout, **options}
    )
