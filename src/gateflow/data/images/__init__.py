"""Pictures of lines of writing: files, ink by column, and how it is varied in training."""
