"""Number sequences as files hold them, one module a format; `read_series` finds out which it is."""

from gateflow.data.series.reading import read_series
from gateflow.data.series.series import Series

__all__ = ["Series", "read_series"]
