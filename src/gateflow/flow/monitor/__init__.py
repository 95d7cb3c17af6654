"""The instruments while a model trains, at a bounded share of the time."""
