"""What a step is given instead of its tensors: whatever is done with a stand-in is told to the recording it belongs to.

h * 2      →      recording.call(operator.mul, (h, 2))      a stand-in for the product
if h > 0   →      recording.refuse("control flow …")
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch

from gateflow.errors import UnsupportedStepError

__all__ = ["GateStandIn", "MapStandIn", "NormStandIn", "Recorder", "StandIn", "WeightStandIn", "name_of"]


class Recorder(Protocol):
    """What stand-ins need of a `Recording`."""

    def call(self, target: Any, args: Sequence[Any], options: Mapping[str, Any] = ...) -> StandIn:
        """Writes down a call; the stand-in for its result."""
        ...

    def pieces(self, name: str, args: Sequence[Any], options: Mapping[str, Any], count: int) -> tuple[StandIn, ...]:
        """Writes down a call that gives several rows."""
        ...

    def check_mode(self) -> None:
        """Refuses a change of gradient mode or autocast."""
        ...

    def refuse(self, found: str) -> UnsupportedStepError:
        """Why the step cannot be compiled."""
        ...


class StandIn:
    """Stands for a row in a step: what torch or Python does with it is written down."""

    # `__weakref__`: `refuse_what_stays` of `verification.py` asks whether a row lives on.
    __slots__ = ("__weakref__", "index", "recording")
    __array_ufunc__ = None  # numpy's numbers leave operators to us
    __hash__ = object.__hash__

    def __init__(self, recording: Recorder, index: int):
        self.recording, self.index = recording, index

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> StandIn:
        """A function of torch, called with a stand-in among its arguments."""
        values = (*args, *kwargs.values()) if kwargs else args
        recording = next((v.recording for v in values if isinstance(v, StandIn)), None)
        if recording is None:  # rows in a list, as `torch.cat` has them
            lists = [each for each in values if type(each) in (tuple, list)]
            recording = next(v.recording for each in lists for v in each if isinstance(v, StandIn))
        return _called(recording, function, args, kwargs or {})

    def __getattr__(self, name: str) -> Callable[..., StandIn]:
        """A method of tensors."""
        if name.startswith("_"):  # asked for by Python and torch, not by steps
            raise AttributeError(name)
        if callable(getattr(torch.Tensor, name, None)):
            return lambda *args, **options: _called(self.recording, name, (self, *args), options)
        # No AttributeError, or `hasattr(h, "shape")` would be false here and true for a tensor.
        raise self.recording.refuse(f"`.{name}` of a row, which is known only when the step runs,")

    # A branch that is taken for a stand-in would be taken for every value.
    def _refused(self, *_: Any) -> Any:
        raise self.recording.refuse("control flow or a Python number that depends on a value (write torch.where)")

    __bool__ = __iter__ = __len__ = __float__ = __int__ = __index__ = __contains__ = _refused

    # A graph has values and no places: whoever holds the row elsewhere would have to see the change.
    def _in_place(self, _: Any) -> Any:
        raise self.recording.refuse("a change in place")

    __iadd__ = __isub__ = __imul__ = __itruediv__ = __ipow__ = _in_place

    def __setitem__(self, *_: Any) -> None:
        raise self.recording.refuse("a change in place")


PLACES = -1
"""In place of the number of a row: where in a row `max` has found its largest number."""

_SEVERAL = {"chunk": ("chunks", 1), "split": ("split_size_or_sections", 1), "max": ("dim", 1), "min": ("dim", 1)}
"""What gives several rows, and the argument that says so: its name and place."""


def _called(recording: Recorder, function: Any, args: Sequence[Any], options: Mapping[str, Any]) -> Any:
    """Writes down a call, which gives one row or several."""
    name = name_of(function)
    argument, place = _SEVERAL.get(name, ("", 0))
    given = options.get(argument, args[place] if argument and len(args) > place else None)
    if not argument or given is None or isinstance(given, StandIn):
        return recording.call(function, args, options)
    if argument == "dim":
        (values,) = recording.pieces(name, args, options, 1)
        return getattr(torch.return_types, name)((values, StandIn(recording, PLACES)))
    if name == "split" and isinstance(given, int):
        raise recording.refuse(
            "`split` into pieces of one size, whose number is known only when the step runs (use chunk),"
        )
    return recording.pieces(name, args, options, given if name == "chunk" else len(given))


def _weight_operator(function: Callable[..., Any], *, swapped: bool = False) -> Any:
    if swapped:
        return lambda self, other: _made(self.recording, function, (other, self), {})
    return lambda self, *others: _made(self.recording, function, (self, *others), {})


def _operator(function: Callable[..., Any], *, swapped: bool = False) -> Any:
    if swapped:
        return lambda self, other: self.recording.call(function, (other, self))
    return lambda self, *others: self.recording.call(function, (self, *others))


class WeightStandIn:
    """Stands for a weight by itself, or for what a step makes of weights alone, such as `W - W.T`.

    `expression` says how: the name of a weight, or `(function, arguments, options)` of expressions and constants.
    """

    __slots__ = ("__weakref__", "expression", "recording")
    __hash__ = object.__hash__

    def __init__(self, recording: Recorder, expression: Any):
        self.recording, self.expression = recording, expression

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """A function of torch: of weights alone one more weight, with rows a row."""
        if StandIn in types:
            return StandIn.__torch_function__(function, types, args, kwargs)
        values = (*args, *(kwargs or {}).values())
        flat = [v for each in values for v in (each if isinstance(each, tuple | list) else (each,))]
        recording = next(v.recording for v in flat if type(v) is cls)
        return _made(recording, function, args, kwargs or {})

    def __getattr__(self, name: str) -> Any:
        """A method of tensors, or a transpose."""
        if name.startswith("_"):
            raise AttributeError(name)
        if name in ("T", "mT"):
            return _made(self.recording, "t", (self,), {})
        if callable(getattr(torch.Tensor, name, None)):
            return lambda *args, **options: _made(self.recording, name, (self, *args), options)
        raise self.recording.refuse(f"`.{name}` of a weight, which is known only when the step runs,")

    def _refused(self, *_: Any) -> Any:
        raise self.recording.refuse("control flow or a Python number that depends on a weight")

    __bool__ = __iter__ = __len__ = __float__ = __int__ = __index__ = __contains__ = _refused

    def _in_place(self, _: Any) -> Any:
        raise self.recording.refuse("a change of a weight in place")

    __iadd__ = __isub__ = __imul__ = __itruediv__ = __ipow__ = _in_place


def _made(recording: Recorder, function: Any, args: Sequence[Any], options: Mapping[str, Any]) -> Any:
    """What a function makes of weights; a row, where a row is among the arguments."""
    if any(isinstance(a, StandIn) for a in args):
        return recording.call(function, args, options)
    recording.check_mode()
    if name_of(function).endswith("_") or "out" in options:
        raise recording.refuse("a change of a weight in place")
    parts = tuple(_expression(recording, a) for a in args)
    return WeightStandIn(
        recording, (function, parts, tuple((n, _expression(recording, v)) for n, v in options.items()))
    )


def _expression(recording: Recorder, value: Any) -> Any:
    if isinstance(value, WeightStandIn):
        return value.expression
    if isinstance(value, tuple | list):
        return ("of", tuple(_expression(recording, v) for v in value), ())
    if isinstance(value, slice) and all(b is None or isinstance(b, int) for b in (value.start, value.stop, value.step)):
        return (slice, tuple(_expression(recording, bound) for bound in (value.start, value.stop, value.step)), ())
    if isinstance(value, bool | int | float | str | type(None) | torch.dtype):
        return ("is", value, repr(value))  # as text: in Python 1 equals 1.0 and `True`, and 0.0 equals -0.0
    raise recording.refuse(f"a value of type {type(value).__name__} in an expression of weights")


# Also operators that the compiler does not know: it refuses them by name, with the user's line.
for _name in "add sub mul truediv pow matmul mod floordiv".split():
    setattr(StandIn, f"__{_name}__", _operator(getattr(operator, _name)))
    setattr(StandIn, f"__r{_name}__", _operator(getattr(operator, _name), swapped=True))
    setattr(WeightStandIn, f"__{_name}__", _weight_operator(getattr(operator, _name)))
    setattr(WeightStandIn, f"__r{_name}__", _weight_operator(getattr(operator, _name), swapped=True))
for _name in "neg pos abs invert lt le gt ge eq ne getitem and_ or_ xor".split():
    setattr(StandIn, f"__{_name.rstrip('_')}__", _operator(getattr(operator, _name)))
for _name in "neg pos abs getitem lt le gt ge eq ne".split():
    setattr(WeightStandIn, f"__{_name}__", _weight_operator(getattr(operator, _name)))


class GateStandIn:
    """Stands for a `cells.Gate`."""

    __slots__ = ("_of_input", "_of_state", "_recording")

    def __init__(self, recording: Recorder, of_input: Any, of_state: Any):
        self._recording, self._of_input, self._of_state = recording, of_input, of_state

    def __call__(self, state: Any, x: Any) -> StandIn:
        """The sum of the two halves."""
        call = self._recording.call
        return call(operator.add, (call(self._of_input, (x,)), call(self._of_state, (state,))))

    def input(self, x: Any) -> StandIn:
        """The half of the input."""
        return self._recording.call(self._of_input, (x,))

    def recurrent(self, state: Any) -> StandIn:
        """The half of the state."""
        return self._recording.call(self._of_state, (state,))


class MapStandIn:
    """Stands for a product with one matrix."""

    __slots__ = ("_recording", "_weight")

    def __init__(self, recording: Recorder, weight: Any):
        self._recording, self._weight = recording, weight

    def __call__(self, row: Any) -> StandIn:
        """The matrix times a row."""
        return self._recording.call(self._weight, (row,))


class NormStandIn:
    """Stands for a layer norm."""

    __slots__ = ("_name", "_recording")

    def __init__(self, recording: Recorder, name: str):
        self._recording, self._name = recording, name

    def __call__(self, row: Any) -> StandIn:
        """A row, normalised."""
        return self._recording.call(("norm", self._name), (row,))


def name_of(target: Any) -> str:
    """What a function or method is called."""
    return target if isinstance(target, str) else getattr(target, "__name__", str(target))
