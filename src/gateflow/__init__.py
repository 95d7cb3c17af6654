"""Recurrent networks for PyTorch: write a cell as its equations and train it on real text."""
