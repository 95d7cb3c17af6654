"""The columns of a file of tagged words: what separates them, what they are called, and which lines have none."""

from __future__ import annotations

import re
import reprlib
from dataclasses import dataclass, replace

from gateflow.data import conllu
from gateflow.errors import DataError

__all__ = ["Layout", "layout_of"]

# What no word and its tags look like, though it may have as many columns: `# text = The cat` of a converted treebank
# has five.
_COMMENT = re.compile(r"# ?[\w.]+ = |#begin document|#end document")


@dataclass(frozen=True)
class Layout:
    """How the lines of a file are to be read.

    Attributes:
        path: for messages.
        line: the line that it was recognised by.
        width: number of columns.
        tabs: whether columns are separated by tabs.
        names: of the columns; none of most plain files.
        is_conllu: whether it is CoNLL-U or CoNLL-U Plus.
        id, misc, form: where these of CoNLL-U stand, if they do; `form` is the first column of other files.
    """

    path: str
    line: int
    width: int
    tabs: bool
    names: tuple[str, ...] = ()
    is_conllu: bool = False
    id: int | None = None
    misc: int | None = None
    form: int = 0

    def fields(self, number: int, line: str) -> list[str]:
        """The columns of a line.

        Raises:
            DataError: they are too many or too few.
        """
        fields = self._split(line)
        if len(fields) != self.width:
            expected = f"CoNLL-U has {self.width}" if self.is_conllu else f"line {self.line} has {self.width}"
            raise DataError(
                f"{self.path}, line {number}: {_columns(len(fields))}, where {expected} separated by "
                f"{'tabs' if self.tabs else 'spaces'}; found {reprlib.repr(line)}. "
                "Give each word one line with all columns, and put a blank line between sentences."
            )
        return fields

    def _split(self, line: str) -> list[str]:
        # Only at spaces: a word may be or hold another kind of white space, such as one that breaks no line.
        if not self.tabs and "\t" not in line:
            return [field for field in line.split(" ") if field]
        return [field.strip(" ") for field in line.split("\t")]

    def is_comment(self, line: str) -> bool:
        """Whether it is one, if it stands before the first word of its sentence."""
        if not line.startswith("#"):
            return False
        return self.is_conllu or len(self._split(line)) != self.width or bool(not self.tabs and _COMMENT.match(line))

    def column(self, asked: str) -> int:
        """The place of a column, by its number or name.

        Raises:
            DataError: there is none.
        """
        if re.fullmatch(r"[+-]?\d+", asked, re.ASCII):
            number = int(asked)
            if not 1 <= abs(number) <= self.width:
                raise DataError(
                    f"{self.path} has {_columns(self.width)}, and column {number} was asked for. "
                    f"Give one of 1 to {self.width}, or -1 to -{self.width} from the end."
                )
            return number - 1 if number > 0 else self.width + number
        if asked.lower() in self.names:
            return self.names.index(asked.lower())
        what = f"its columns are {', '.join(self.names)}" if self.names else "its columns have no names"
        raise DataError(f"{self.path} has no column {asked!r:.40}: {what}. Give a number from 1 to {self.width}.")


def layout_of(path: str, number: int, line: str, plus: tuple[str, ...] | None, names: tuple[str, ...]) -> Layout:
    r"""The layout by the first line that is no comment for certain.

    Args:
        path: for messages.
        number: of the line.
        line: the line.
        plus: names of the columns in the file's own first line.
        names: those that the caller gave.

    Raises:
        DataError: there are not as many names as columns, or it is CoNLL-U with spaces in place of tabs.

    Example:
        >>> layout = layout_of("file", 1, "Teddy\tPROPN\tB-person", None, ())
        >>> layout.width, layout.tabs, layout.is_conllu
        (3, True, False)
    """
    own = plus or (conllu.NAMES if conllu.is_row(line) else ())
    layout = Layout(path, number, len(own), "\t" in line, names or own, bool(own))
    layout = replace(layout, width=len(own) or len(layout._split(line)))
    if not layout.tabs and not names and conllu.is_row("\t".join(layout._split(line))):
        raise DataError(
            f"{path}, line {number}: this looks like CoNLL-U, whose columns are separated by tabs; found spaces. "
            "Put tabs there; or give names of the columns, if it is another format."
        )
    if names and len(names) != layout.width:
        raise DataError(
            f"{path} has {_columns(layout.width)} (line {number}), and {len(names)} names were given: "
            f"{', '.join(names)}. Name each column once."
        )
    # By the file's own names: a caller who calls the columns something else has the same lines.
    place = {name: k for k, name in enumerate(own)}
    if "form" in names:
        place["form"] = names.index("form")
    return replace(layout, id=place.get("id"), misc=place.get("misc"), form=place.get("form", 0))


def _columns(count: int) -> str:
    return f"{count} column{'s' * (count != 1)}"
