"""Every error and warning that gateflow raises on purpose.

A message says what was asked, what was found, where, and the remedy. Each class also derives from the built-in that
code written for ``torch.nn`` would catch.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def among(name: str, known: Iterable[str], *, what: str = "there are") -> str:
    """The end of a message about a name that there is none of: the closest one, and all of them.

    Args:
        name: what was asked for.
        known: what there is.
        what: words in front of the list.

    Example:
        >>> among("addng", ("adding", "copy"))
        'did you mean adding? there are adding, copy'
        >>> among("fly", ("adding", "copy"))
        'there are adding, copy'
    """
    known = list(known)
    # A name may have a comma of its own.
    between = "; " if any("," in each for each in known) else ", "
    return f"{closest(name, known)}{what} {between.join(known)}"


def closest(name: str, known: Iterable[str]) -> str:
    """A question about the name that may have been meant, and a blank; nothing if there is none like it.

    Example:
        >>> closest("Corpus.tx", ["corpus.txt"]), closest("fly", ["corpus.txt"])
        ('did you mean corpus.txt? ', '')
    """
    names = {each.lower(): each for each in known}
    close = difflib.get_close_matches(name.lower(), names, n=1)
    return f"did you mean {names[close[0]]}? " if close else ""


class GateflowError(Exception):
    """Root of the tree: ``except GateflowError`` catches whatever the library refuses."""


class CellError(GateflowError, TypeError):
    """A cell's definition does not hold together: its names, its step, or what its step returns."""


class UnsupportedStepError(CellError):
    """A step uses what the compiler does not know; the reference loop runs it all the same."""


# No KeyError, which prints the repr of its message, quotes and all.
class UnknownCellError(GateflowError, LookupError):
    """No cell has the name that was asked for."""


class ConfigError(GateflowError, ValueError):
    """An option has a value that cannot work, alone or together with another."""


class ArgumentTypeError(GateflowError, TypeError):
    """An argument of a layer has a type that ``torch.nn`` refuses too."""


class FixedAttributeError(GateflowError, AttributeError):
    """An attribute that a layer was built by, such as ``hidden_size``, cannot be set to something else later."""


# torch raises ValueError for some shapes and RuntimeError for others: whichever a caller catches, it catches this.
class ShapeError(GateflowError, ValueError, RuntimeError):
    """A tensor's shape or dtype does not fit. ``torch.nn`` raises ``ValueError`` or ``RuntimeError``; this is both."""


class NoSequenceError(GateflowError, ValueError):
    """The best sequence of a row is asked for, and every one is forbidden, none fits, or its scores are NaN."""


class PathError(GateflowError, RuntimeError):
    """The path that was demanded (``strict=True`` or ``force_path``) cannot run this layer on this input."""


class DataError(GateflowError, ValueError):
    """A file of text or pairs is missing, empty, not text, or too small for what was asked."""


class RunError(GateflowError, RuntimeError):
    """A run folder exists already, is incomplete or damaged, or was written by a newer version."""


# OSError too, since code around a training loop catches that for a full disk.
class WriteError(RunError, OSError):
    """A file could not be written: the disk is full, or the folder is not the user's. What was there stays."""


class TrustError(RunError):
    """A run names code of somebody's own, which opening it would run, and nobody has said that this may be."""


class TaskError(GateflowError, TypeError):
    """An entry of `gateflow.tasks.TASKS`, or the description that it names, does not hold together."""


class NonFiniteError(GateflowError, ArithmeticError):
    """Gradients or weights hold NaN or infinity, and the policy says stop."""


class BuildError(GateflowError, RuntimeError):
    """A kernel cannot be built: there is no compiler, it refuses the text, or the result cannot be loaded or run."""


class KernelError(GateflowError, RuntimeError):
    """A kernel on a GPU has given up, since a part of it waited too long for another; the message says what to do."""


class ArtifactError(GateflowError, RuntimeError):
    """A program that was exported or compiled names a cell that cannot be read: damaged, or another version's."""


class ExportError(GateflowError, RuntimeError):
    """A model cannot leave Python as asked, what that needs is not installed, or weights of others do not fit."""


# Warnings are UserWarnings: Python shows those by default, once per place, and a filter can name each class.
class RunWarning(UserWarning):
    """What is amiss in a run's folder and was mended: a replacement that was killed, weights that cannot be read,
    a checkpoint that goes on with other products in bfloat16."""


class DataWarning(UserWarning):
    """What is amiss in data and was mended or counted: wrong sequences of tags, sentences that occur in two parts."""


class CacheWarning(UserWarning):
    """Built kernels are not kept, because the cache directory cannot be used; the message says why."""


class FlowError(GateflowError, ValueError):
    """A model, batch or loss gives the instruments of `gateflow.flow` nothing to measure, or too much to hold."""


class FlowWarning(UserWarning):
    """What a `gateflow.flow.Monitor` sees in a training that goes on: reach that is lost, or a NaN; what to do."""


class ReferencePathWarning(UserWarning):
    """A layer runs on the reference loop, which is right but slow; the message says why."""
