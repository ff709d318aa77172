"""`mlops runs submit`."""


def submit() -> None:
    """Placeholder."""
