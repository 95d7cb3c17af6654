"""The reader of ``.ts`` files beside aeon's own, on all the files that aeon brings with it.

aeon needs an older NumPy than torch's newest takes, and is not installed for the other tests. In an environment of its
own: ``pip install aeon pytest torch``, then ``PYTHONPATH=src pytest tests/data/test_series_by_aeon.py``.
"""

from pathlib import Path

import numpy as np
import pytest

from gateflow.data.series import read_series

aeon = pytest.importorskip("aeon", reason="needs aeon, which needs an older NumPy")


def test_the_files_that_aeon_brings():
    from aeon.datasets import load_from_ts_file

    files = sorted(Path(aeon.__file__).parent.glob("datasets/data/**/*.ts"))
    assert len(files) > 20
    for file in files:
        values, labels = load_from_ts_file(str(file))
        found = list(read_series(file))
        assert len(found) == len(values), file
        for ours, theirs, label in zip(found, values, labels, strict=True):
            np.testing.assert_array_equal(ours.values.T, np.asarray(theirs, dtype=np.float32), str(file))
            # aeon makes labels small, and numbers of those of a regression.
            assert str(ours.label).lower() == str(label).lower() or float(ours.label or "nan") == float(label), file
