"""Gradients of the loss at many time steps, carried backward through a trace, step by step."""
