"""Strokes of a pen: JSON lines, points at equal distances, how they are varied, and writing of our own making."""
