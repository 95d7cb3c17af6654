"""Tags for words: parts of speech, names, and what else a column of a file says."""
