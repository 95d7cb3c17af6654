"""Where things are in a recording or a line, as Praat's TextGrid: the long text format."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

__all__ = ["Interval", "textgrid"]

Interval = tuple[float, float, str]
"""From where to where something goes, and what it is."""


def textgrid(tiers: Mapping[str, Sequence[Interval]], end: float) -> str:
    r"""The content of a TextGrid with tiers of intervals; what lies between them is empty.

    Args:
        tiers: by name; the intervals of each in their order.
        end: of all of it; it begins at 0.

    Example:
        >>> textgrid({"words": [(0.5, 0.75, "cat")]}, 1.0).splitlines()[-5].strip()
        'text = "cat"'

    Source: Boersma and Weenink, "Praat: doing phonetics by computer", manual, "TextGrid file formats".
    """
    head = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", "xmin = 0", f"xmax = {end:.6g}"]
    head += ["tiers? <exists>", f"size = {len(tiers)}", "item []:"]
    lines = [*head]
    for number, (name, intervals) in enumerate(tiers.items(), 1):
        filled = list(_filled(intervals, end))
        lines += [f"    item [{number}]:", '        class = "IntervalTier"', f"        name = {_quoted(name)}"]
        lines += ["        xmin = 0", f"        xmax = {end:.6g}", f"        intervals: size = {len(filled)}"]
        for k, (begin, stop, text) in enumerate(filled, 1):
            lines += [f"        intervals [{k}]:", f"            xmin = {begin:.6g}", f"            xmax = {stop:.6g}"]
            lines.append(f"            text = {_quoted(text)}")
    return "\n".join(lines) + "\n"


def _filled(intervals: Iterable[Interval], end: float) -> Iterator[Interval]:
    """Praat takes no gaps, no overlaps, and nothing without a length."""
    at = 0.0
    for begin, stop, text in intervals:
        begin, stop = max(begin, at), min(stop, end)
        if stop <= begin:
            continue
        if begin > at:
            yield at, begin, ""
        yield begin, stop, text
        at = stop
    if at < end or not at:
        yield at, end, ""


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'
