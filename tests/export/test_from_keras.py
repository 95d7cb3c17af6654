"""Layers of Keras as layers of ours: Keras itself is the judge, where it is installed."""

import os

import numpy as np
import pytest
import torch

from gateflow.errors import ExportError
from gateflow.export import from_keras, from_keras_weights

I, H = 3, 5
CASES = {
    "simple": ("SimpleRNN", {}),
    "simple relu": ("SimpleRNN", {"activation": "relu", "use_bias": False}),
    "gru": ("GRU", {}),
    "gru reset before": ("GRU", {"reset_after": False}),
    "lstm": ("LSTM", {}),
}


@pytest.fixture(scope="module")
def keras():
    os.environ.setdefault("KERAS_BACKEND", "torch")  # before it is imported; TensorFlow would be asked for otherwise
    return pytest.importorskip("keras", reason="needs keras")


@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning")
@pytest.mark.parametrize("merge", ["one way", "concat", "ave"])
@pytest.mark.parametrize("case", CASES)
def test_same_outputs(keras, case, merge):
    kind, options = CASES[case]
    theirs = getattr(keras.layers, kind)(H, return_sequences=True, **options)
    if merge != "one way":
        theirs = keras.layers.Bidirectional(theirs, merge_mode=merge)
    theirs.build((None, None, I))
    random = np.random.default_rng(0)
    theirs.set_weights([random.normal(size=each.shape).astype("f4") / 2 for each in theirs.weights])
    x = torch.randn(2, 7, I)
    torch.testing.assert_close(from_keras(theirs)(x)[0], theirs(x), rtol=1e-5, atol=2e-6, check_device=False)


def test_layers_of_other_equations_are_refused(keras):
    for layer, words in (
        (keras.layers.LSTM(H, go_backwards=True), "go_backwards=True"),
        (keras.layers.GRU(H, recurrent_activation="hard_sigmoid"), "recurrent_activation='hard_sigmoid'"),
        (keras.layers.GRU(H, activation="elu"), "no cell of gateflow is a GRU with activation='elu'"),
        (keras.layers.Dense(H), "Keras' Dense is not known"),
    ):
        layer.build((None, None, I))
        with pytest.raises(ExportError, match=words):
            from_keras(layer)


def test_weights_that_do_not_fit_are_refused():
    def zeros(*shapes):
        return [np.zeros(shape, "f4") for shape in shapes]

    for weights, words in (
        (zeros((I, 20)), "has 2 weights, or 3 with a bias, for each direction; found 1"),
        (zeros((I, 20), (5, 21)), r"the recurrent kernel of the LSTM has the shape \[5, 21\], and \[5, 20\] is needed"),
        (zeros((I, 20), (5, 20), (2, 20)), r"the bias of the LSTM has the shape \[2, 20\]"),
        ([np.zeros((I, 20), object), *zeros((5, 20))], "the kernel of the LSTM is of object"),
        ([None, None], r"the kernel of the LSTM has the shape \[\]"),
    ):
        with pytest.raises(ExportError, match=words):
            from_keras_weights("LSTM", weights)
    with pytest.raises(ExportError, match="no cell of gateflow is a Conv"):
        from_keras_weights("Conv", zeros((I, 20), (5, 20)))
