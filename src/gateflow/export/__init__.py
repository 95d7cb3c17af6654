"""Models leave Python, and weights of others come in.

    torch.onnx.export(model, args, file, dynamo=True)      as it is, for any model with our layers
    with portable(): torch.export.export(model, args)      a program of torch's own operators, for AOTInductor too
    from_onnx(file)                                        a layer of ours from an ONNX RNN, GRU or LSTM
    from_keras(layer)                                      a layer of ours from one of Keras

The first two are made where a layer meets time (`gateflow.recurrence`: `scan.py`, `onnx_operators.py`); what runs of a
task become is `gateflow export`.
"""

from gateflow.export.from_keras import from_keras, from_keras_weights
from gateflow.export.from_onnx import from_onnx
from gateflow.recurrence import portable

__all__ = ["from_keras", "from_keras_weights", "from_onnx", "portable"]
