"""Report: what was measured as one HTML file, for readers who have never seen the tool.

    findings, reach, terms,     page.py: sections         write.py: page.html with page.css, page.js,
    spectra, gates, what_if  ─► in their order       ─►   plotly and the data inside, one file
    (`ReportData`)                 │
                                   ├─ heatmap, decay, spectrum, openness, contingency, training_curve, clipping:
                                   │  a figure each
                                   ├─ summary: the verdict, the facts in large type, the table
                                   └─ wording: how to read each figure, and the glossary

A figure is a plain dictionary for plotly (`figure.py`). It names colours, `"var(--line-0)"`, and the page
knows them: the script puts in what the style has for light or for dark, and draws again when that changes.
Shares are drawn and not norms, for a loss that is averaged over steps or rows scales every norm, while the
share of the norm at the target's own step stays.

To add a figure: a file here that returns a `Figure`, its words in `wording.py`, its section in `page.py`.

*Boundary:* measures nothing. *Invariant:* one file that loads nothing; a policy in its head forbids it to.
"""

from gateflow.flow.report.write import page, write

__all__ = ["page", "write"]
