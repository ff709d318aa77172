"""Files in which a project, or another tool's lock, says what Python packages it needs."""
