"""What a cell is made of: names of states and gates, the weights that follow from them, and one `step`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gateflow.cells import verify
from gateflow.errors import CellError, ConfigError

__all__ = ["Cell", "Gate"]


class Gate:
    """An affine map of (state expression, input): `gate(s, x) = W s + b_hh + U x + b_ih`, before any squashing.

    Its two halves can be used apart, as reset-after GRUs do: `gate.input(x)` and `gate.recurrent(s)`.
    """

    def __init__(self, weight_ih: Tensor, weight_hh: Tensor, bias_ih: Tensor | None, bias_hh: Tensor | None):
        self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh = weight_ih, weight_hh, bias_ih, bias_hh

    def __call__(self, state: Tensor, x: Tensor) -> Tensor:
        return self.input(x) + self.recurrent(state)

    # Public, since reset-after GRUs need the halves apart, and nothing else says that as plainly.
    def input(self, x: Tensor) -> Tensor:
        """`U x + b_ih`, shape `[B, H]`."""
        return F.linear(x, self.weight_ih, self.bias_ih)

    def recurrent(self, state: Tensor) -> Tensor:
        """`W s + b_hh`, shape `[B, H]`."""
        return F.linear(state, self.weight_hh, self.bias_hh)


class _Checked(type):
    """Builds a cell, then tries one step of it, so that a wrong cell is refused before it meets data."""

    # Not at the end of `__init__`: a subclass may set what its step reads after `super().__init__()`.
    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        cell = super().__call__(*args, **kwargs)
        verify.check_instance(cell)
        return cell


class Cell(nn.Module, metaclass=_Checked):
    """A recurrent cell: the equations of one time step over the weights that its declarations ask for.

    A subclass names what it is made of and writes `step`. Everything else follows: the weights, fused over the gates
    under the names of `torch.nn` (`weight_ih [G·H, I]`, `weight_hh [G·H, H]`, `bias_ih`, `bias_hh`), the initial
    values, and every option of `gateflow.Recurrent`.

    * `states`: the state's parts, in the order in which `step` takes and returns them. The first is the output.
    * `gates`: affine maps of (state expression, input), called as `self.NAME(state, x)`.
    * `inputs`: affine maps of the input alone, called as `self.NAME(x)`; their rows follow the gates' in `weight_ih`.
    * `matrices`: products of a state expression alone, `weight_NAME [H, H]`, called as `self.NAME(state)`.
    * `diagonals`: vectors `[H]` such as peepholes, used as `self.NAME * c`.
    * `norms`: layer norms over a row, `NAME_weight` and `NAME_bias [H]`, called as `self.NAME(row)`. One called
      `norm_GATE` is taken to normalise that gate's sum, so its bias is the gate's bias.
    * `keeps`: gates, those of the input alone too, that decide how long the memory lasts, the main one first; +1 if an
      open gate keeps, -1 if an open gate overwrites. `remedies.init` reads it.

    Where steps do not follow each other at equal times, `step(self, x, dt, …)` is given the time since the step before,
    `dt [B, 1]`: what the layer was called with, `layer(x, dt=…)`.

    A cell may hold modules without weights, such as activations; the `train()` and `eval()` of its layer reach them.
    Setting an attribute on `layer.cells[k]` sets it on the cell.

    Args:
        input_size: size `I` of `x`.
        hidden_size: size `H` of each state.
        bias: whether gates and inputs have biases.
        device, dtype: where and in what precision the weights live.

    Raises:
        CellError: when the class is made (names, signature) or built (one step is tried: what it returns, shapes,
            gates that nothing depends on), with the file and line of the user's code.
        ConfigError: a size that is not a positive integer.

    Example:
        >>> class Leaky(Cell):
        ...     states = ("h",)
        ...     gates = ("content",)
        ...
        ...     def step(self, x, h):
        ...         return 0.9 * h + 0.1 * torch.tanh(self.content(h, x))
        >>> cell = Leaky(input_size=3, hidden_size=4)
        >>> (h,) = cell(torch.zeros(2, 3))
        >>> h.shape
        torch.Size([2, 4])
    """

    states: ClassVar[tuple[str, ...]] = ()
    gates: ClassVar[tuple[str, ...]] = ()
    inputs: ClassVar[tuple[str, ...]] = ()
    matrices: ClassVar[tuple[str, ...]] = ()
    diagonals: ClassVar[tuple[str, ...]] = ()
    norms: ClassVar[tuple[str, ...]] = ()
    keeps: ClassVar[Mapping[str, int]] = {}
    equation: ClassVar[str] = ""
    citation: ClassVar[str] = ""
    takes_dt: ClassVar[bool] = False
    """Whether `step` asks for the time since the step before; its signature says so."""
    # Elapsed times stand behind the input in its rows: one, or one for each direction of a layer.
    _dt_columns: int = 0
    _dt_column: int = 0
    step: Callable[..., Tensor | tuple[Tensor, ...]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        verify.check_class(cls, Cell)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        for name, size in {"input_size": input_size, "hidden_size": hidden_size}.items():
            if not isinstance(size, int) or size < 1:
                raise ConfigError(f"{type(self).__name__}: {name} must be a positive integer, got {size!r}")
        self.input_size, self.hidden_size, self.bias = input_size, hidden_size, bias
        # Registered, and so drawn, in the order of `torch.nn`: the same seed gives the same weights as there.
        for name, shape in self.parameter_shapes().items():
            self.register_parameter(name, nn.Parameter(torch.empty(shape, device=device, dtype=dtype)))
        self.reset_parameters()

    @property
    def state_sizes(self) -> dict[str, int]:
        """Size of each part of the state, in the order of `states`."""
        return dict.fromkeys(self.states, self.hidden_size)

    @property
    def output_size(self) -> int:
        """Size of the first state, which is the output."""
        return self.state_sizes[self.states[0]]

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every weight that the declarations ask for, in the order of `torch.nn`."""
        H, G, N = self.hidden_size, len(self.gates), len(self.inputs)
        shapes: dict[str, tuple[int, ...]] = {"weight_ih": ((G + N) * H, self.input_size)}
        shapes |= {"weight_hh": (G * H, self.output_size)} if G else {}
        shapes |= {"bias_ih": ((G + N) * H,)} if self.bias else {}
        shapes |= {"bias_hh": (G * H,)} if self.bias and G else {}
        shapes |= {f"weight_{name}": (H, H) for name in self.matrices}
        shapes |= dict.fromkeys(self.diagonals, (H,))
        return shapes | {f"{name}_{part}": (H,) for name in self.norms for part in ("weight", "bias")}

    def reset_parameters(self) -> None:
        """Draws every weight from `U(-1/√H, 1/√H)` as `torch.nn` does; norms start as the identity."""
        # torch's bound for all of its recurrent weights, biases included.
        bound = 1 / math.sqrt(self.hidden_size)
        scales = {f"{name}_weight": 1.0 for name in self.norms} | {f"{name}_bias": 0.0 for name in self.norms}
        for name, parameter in self.named_parameters():
            if name in scales:
                nn.init.constant_(parameter, scales[name])
            else:
                nn.init.uniform_(parameter, -bound, bound)

    def initial_state(self, x: Tensor) -> tuple[Tensor, ...]:
        """Zeros for each part of the state, `[B, size]`, for an input whose second-to-last dimension is `B`."""
        # From the input, so that device, dtype and what `vmap` makes of `x` are the state's too.
        return tuple(x.new_zeros(x.shape[-2], size) for size in self.state_sizes.values())

    @property
    def row_size(self) -> int:
        """How many numbers `advance` takes for each sample: the input, and elapsed times behind it."""
        return self.input_size + self._dt_columns

    def forward(
        self, x: Tensor, state: tuple[Tensor, ...] | None = None, dt: Tensor | float | None = None
    ) -> tuple[Tensor, ...]:
        """One time step: `x [B, I]` and the state's parts `[B, H]` to the new state's parts, zeros to start with.

        Args:
            x: input.
            state: the state's parts.
            dt: for a cell that takes it the time since the step before, `[B]`, `[B, 1]` or one number; 1 by default.
        """
        if dt is not None and not self.takes_dt:
            raise CellError(f"{type(self).__name__} takes no dt; write `def step(self, x, dt, …)` for one that does")
        state = self.initial_state(x) if state is None else state
        if self.takes_dt:
            elapsed = torch.as_tensor(1.0 if dt is None else dt, dtype=x.dtype, device=x.device)
            elapsed = elapsed.reshape(-1, 1).expand(*x.shape[:-1], 1)
            x = torch.cat([x, *[elapsed] * self._dt_columns], -1)
        return self.bind().advance(x, state)

    def advance(self, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """`step`, always as a tuple; `x` are rows of `row_size` numbers."""
        if self._dt_columns:
            at = self.input_size + self._dt_column
            new = self.step(x[..., : self.input_size], x[..., at : at + 1], *state)
        else:
            new = self.step(x, *state)
        return new if isinstance(new, tuple) else (new,)

    def over(self, weights: Mapping[str, Tensor]) -> Self:
        """The same equations over other weights; nothing is copied."""
        # Past `__init__`, which would draw weights and try a step at each pass. `_origin` is the cell
        # itself and not the view before this one: what is set on a view of a view has to reach the cell.
        view, own = type(self).__new__(type(self)), vars(self)
        vars(view).update(own, _parameters=dict(weights), _origin=own.get("_origin", self))
        return view

    def belongs_to(self, layer: nn.Module, suffix: str) -> None:
        """Lets a view set weights where they are: in the layer that owns them, under names that end in `suffix`."""
        # Past `__setattr__`, which would hand it on to the cell; the owner is this view's alone.
        vars(self)["_owner"] = layer, suffix

    def __setattr__(self, name: str, value: Any) -> None:
        """What is set on a view is set on the cell, or on the layer that owns the weights."""
        # By `vars`, here and below: `getattr` would come back to `__getattr__` of a module that is not built yet.
        origin, owner = vars(self).get("_origin"), vars(self).get("_owner")
        if origin is None:
            new = name not in vars(self)
            super().__setattr__(name, value)
            # The glance at a shipped cell before each call compares attributes by name: it must learn of
            # one that comes.
            if new:
                self._name_own()
        elif name in self._parameters:
            # Nothing would keep it: the next pass binds the layer's weight again.
            if owner is None:
                raise CellError(f"{name} of {type(self).__name__} cannot be replaced here; set it on its layer")
            setattr(owner[0], name + owner[1], value)
            self._parameters[name] = value
        else:
            setattr(origin, name, value)
            vars(self)[name] = value

    def __delattr__(self, name: str) -> None:
        """What is deleted from a view is deleted from the cell."""
        origin = vars(self).get("_origin")
        if origin is None:
            super().__delattr__(name)
            self._name_own()
        else:
            delattr(origin, name)
            vars(self).pop(name, None)

    def _name_own(self) -> None:
        """Writes down the names of the cell's own attributes: one that comes may hide one of its class."""
        vars(self)["_own"] = " ".join(vars(self))

    def __getstate__(self) -> dict[str, Any]:
        """For copies and pickles: what a look at the step has found is found again."""
        # The owner holds this cell: a copy of the cell would copy the whole layer.
        return {name: value for name, value in vars(self).items() if name not in ("_look", "_owner")}

    def bind(self) -> Self:
        """This cell, its gates cut out of the fused weights: a pass over time binds once, then calls `step` often."""
        # Cut once per pass: a slice inside `step` would give each step a backward of the size of all weights.
        view = self.over({name: weight for name, weight in self._parameters.items() if weight is not None})
        vars(view).update(view._leaves())
        return view

    def gate_rows(self, gate: str) -> slice:
        """Rows of the fused weights and biases that belong to a gate; an input map has rows of `weight_ih` alone."""
        k = (self.gates + self.inputs).index(gate)
        return slice(k * self.hidden_size, (k + 1) * self.hidden_size)

    def _leaves(self) -> dict[str, Callable[..., Tensor]]:
        """What `step` calls by name: gates, input maps, matrices and norms, over the weights of this cell."""
        G, N, own = len(self.gates), len(self.inputs), self._parameters
        U, b_ih = _cut(own.get("weight_ih"), G + N), _cut(own.get("bias_ih"), G + N)
        W, b_hh = _cut(own.get("weight_hh"), G), _cut(own.get("bias_hh"), G)
        leaves: dict[str, Any] = {name: Gate(U[k], W[k], b_ih[k], b_hh[k]) for k, name in enumerate(self.gates)}
        leaves |= {name: _Linear(U[k], b_ih[k]) for k, name in enumerate(self.inputs, start=G)}
        leaves |= {name: _Linear(own[f"weight_{name}"], None) for name in self.matrices}
        return leaves | {name: _Norm(own[f"{name}_weight"], own[f"{name}_bias"]) for name in self.norms}

    def __getattr__(self, name: str) -> Any:
        """Gates and other leaves of a cell that stands alone, cut out afresh at each use."""
        # A bound cell has its leaves in its dictionary, and never comes here.
        if name in type(self).gates + type(self).inputs + type(self).matrices + type(self).norms:
            return self._leaves()[name]
        return super().__getattr__(name)

    def extra_repr(self) -> str:
        """Sizes, as `torch.nn` prints them."""
        return f"{self.input_size}, {self.hidden_size}" + ("" if self.bias else ", bias=False")


class _Linear:
    """`U x + b`, the bias optional."""

    def __init__(self, weight: Tensor | None, bias: Tensor | None):
        self.weight, self.bias = weight, bias

    def __call__(self, x: Tensor) -> Tensor:
        assert self.weight is not None
        return F.linear(x, self.weight, self.bias)


class _Norm:
    """Layer norm over a row: `(v - mean) / sqrt(var + 1e-5) · weight + bias`."""

    def __init__(self, weight: Tensor | None, bias: Tensor | None):
        self.weight, self.bias = weight, bias

    def __call__(self, row: Tensor) -> Tensor:
        # torch's own epsilon, 1e-5, which the compiler has built in as well.
        return F.layer_norm(row, row.shape[-1:], self.weight, self.bias)


def _cut(fused: Tensor | None, pieces: int) -> list[Any]:
    """The pieces of a fused weight, one per gate; of a bias that is not there, as many `None`."""
    # Views: the gradients of all gates end in one fused tensor, which one large product can fill.
    return [None] * pieces if fused is None else list(fused.chunk(pieces)) if pieces else []
