"""Recordings: files and their labels, samples, and the spectrogram that a network reads."""
