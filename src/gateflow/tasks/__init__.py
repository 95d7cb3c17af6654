"""What recurrent networks are trained for here: language models, agreement, the long-memory tasks."""
