"""One run of a model, with everything that the instruments look at kept."""
