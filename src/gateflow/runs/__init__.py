"""The folder of a run: what lies in it, how it comes to be, and what of it is believed.

Nothing is imported here, so that reading a configuration stays free of torch.
"""
