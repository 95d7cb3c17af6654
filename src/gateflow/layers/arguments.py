"""The arguments of torch's layers: refused where torch refuses them, by the same kind of error, in its words."""

from __future__ import annotations

import numbers
import warnings
from typing import Any

from gateflow.errors import ArgumentTypeError, ConfigError

__all__ = ["checked_dropout", "refuse_wrong_arguments"]


def refuse_wrong_arguments(input_size: Any, hidden_size: Any, num_layers: Any, proj_size: Any, **switches: Any) -> None:
    """Raises what the constructor of `torch.nn.LSTM` would.

    Args:
        input_size, hidden_size, num_layers, proj_size: integers, the last one not negative and below `hidden_size`.
        switches: arguments that must be true or false, not something that counts as that, such as `"False"`.

    Raises:
        ArgumentTypeError: one of them has another type.
        ConfigError: one of them has a value that cannot work.
    """
    for name, value in switches.items():
        # `bias="False"`, from a config file, counts as true; torch refuses it as well.
        if not isinstance(value, bool):
            kind = type(value).__name__
            raise ArgumentTypeError(f"{name} should be of type bool, got: {kind}, {value!r}; pass True or False")
    sizes = {"input_size": input_size, "hidden_size": hidden_size, "num_layers": num_layers, "proj_size": proj_size}
    for name, value in sizes.items():
        if not isinstance(value, int):
            raise ArgumentTypeError(f"{name} should be of type int, got: {type(value).__name__}, {value!r}")
        if value < 0 or (value == 0 and name != "proj_size"):
            raise ConfigError(f"{name} must be greater than zero, got {value!r}")
    if proj_size >= hidden_size:
        raise ConfigError(f"proj_size has to be smaller than hidden_size = {hidden_size}, got {proj_size}; 0 for none")


def checked_dropout(rate: Any, num_layers: int, stacklevel: int) -> float:
    """The rate as a number; torch's warning where there is nothing between layers to drop.

    Raises:
        ConfigError: it is not a probability.
        TypeError: Python cannot read a number from it, as in `torch.nn`.
    """
    # Before the checks: what Python cannot read as a number is a TypeError in torch too.
    number = float(rate)
    if not isinstance(rate, numbers.Number) or isinstance(rate, bool) or not 0 <= number <= 1:
        raise ConfigError(f"dropout should be a number in range [0, 1], a probability; found {rate!r}")
    if number > 0 and num_layers == 1:
        warnings.warn(
            "dropout option adds dropout after all but last recurrent layer, so non-zero dropout expects num_layers "
            f"greater than 1, but got dropout={rate} and num_layers={num_layers}",
            stacklevel=stacklevel + 1,
        )
    return number
