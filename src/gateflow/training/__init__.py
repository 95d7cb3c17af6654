"""Runs, configuration, checkpoints and the training loop.

Nothing is imported here, so that reading a configuration stays free of torch.
"""
