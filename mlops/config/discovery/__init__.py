"""What a repository says about itself: its models, found from its files alone.

Pure functions over a map of files; `mlops init` shows every assumption that they make.
"""

from mlops.config.discovery.models import discover
from mlops.domain.discovery import Discovery, FoundModel

__all__ = ["Discovery", "FoundModel", "discover"]
