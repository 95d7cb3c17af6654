"""The flow report: one HTML file with everything in it, for readers who have never seen the tool.

`write.py` puts it on the disk, `page.py` says what is on it, the figures stand in a file each,
`page.html` with its style and its script is the template.
"""

from gateflow.flow.report.write import page, write

__all__ = ["page", "write"]
