"""From equations to one kernel per direction of time."""
