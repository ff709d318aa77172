"""Text that people write → frozen values, with file, line and key in every error."""
