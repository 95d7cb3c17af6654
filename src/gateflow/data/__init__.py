"""Data as it is read and made: text, tokens, and the agreement grammar."""
