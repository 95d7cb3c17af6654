"""Images are read row by row, pixel by pixel, or in one random order that is the same for all."""

import gzip
import struct

import numpy as np
import pytest
from tests.tasks.classifier.conftest import config_of, train

from gateflow.tasks.classifier.data import own_examples
from gateflow.tasks.classifier.evaluation import evaluate_run
from gateflow.tasks.classifier.loading import load
from gateflow.tasks.description import Given


def written(folder, name, count, seed):
    """Images with a lying or a standing line, and their labels beside them."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, count)
    images = random.integers(0, 60, (count, 6, 5))
    for image, label in zip(images, labels, strict=True):
        place = random.integers(0, 5)
        image[(place, slice(None)) if label else (slice(None), place)] = 255
    for what, array in (("images-idx3", images), ("labels-idx1", labels)):
        head = struct.pack(f">{1 + array.ndim}i", 0x0800 + array.ndim, *array.shape)
        with gzip.open(folder / f"{name}-{what}-ubyte.gz", "wb") as file:
            file.write(head + array.astype(np.uint8).tobytes())
    return folder / f"{name}-images-idx3-ubyte.gz", images, labels


@pytest.mark.parametrize("order", ["rows", "pixels", "permuted"])
def test_steps_are_rows_or_pixels_and_scaled_alike(tmp_path, order):
    file, images, _ = written(tmp_path, "train", 60, seed=0)
    test, others, _ = written(tmp_path, "t10k", 20, seed=1)
    run = train(tmp_path / "run", {"train": file, "valid": test, "order": order}, {"dropout": 0.0}, {"epochs": 1})
    learnt = load(run)
    steps = np.stack([learnt.encoder.steps(x).numpy() for x in own_examples(run, learnt.targets, "valid")])
    plain = others / 255 if order == "rows" else others.reshape(20, 30, 1) / 255
    scaled = (plain - images.mean() / 255) / (images.std() / 255)
    if order == "permuted":
        # One order for all images and files: each step has the values of one pixel.
        np.testing.assert_allclose(sorted(steps[..., 0].T.tolist()), sorted(scaled[..., 0].T.tolist()), atol=1e-5)
        assert not np.allclose(steps, scaled, atol=1e-3)
    else:
        np.testing.assert_allclose(steps, scaled, atol=1e-5)
    again = evaluate_run(Given(run), data=test, predictions=None, text=None, label=None, batch_size=7)
    kept = evaluate_run(Given(run), data=None, predictions=None, text=None, label=None, batch_size=64)
    assert again.json["log_loss"] == pytest.approx(kept.json["log_loss"], abs=1e-5)
    assert learnt.targets.names == ("0", "1")


def test_lines_are_told_apart(tmp_path):
    file, *_ = written(tmp_path, "train", 200, seed=0)
    run = train(tmp_path / "run", {"train": file}, {"dropout": 0.0, "read_out": "max"}, {"epochs": 15})
    assert run.config().series.order == config_of({"train": file}).series.order == "rows"
    assert evaluate_run(Given(run), None, None, None, None, 64).json["accuracy"] > 0.9
