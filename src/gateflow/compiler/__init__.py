"""The cell compiler: from a cell's equations to one kernel per direction of time."""
