"""Models leave Python, and weights of others come in.

torch.onnx.export(model, args, file, dynamo=True)      as it is, for any model with our layers
with portable(): torch.export.export(model, args)      a program of torch's own operators, for AOTInductor too
"""

from gateflow.recurrence import portable

__all__ = ["portable"]
