"""Experiments that compare trainings: the agreement study, tasks of long memory, remedies, cells on one budget.

Nothing is imported here, so that a command's help stays free of torch.
"""
