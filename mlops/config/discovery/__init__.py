"""What a repository says about itself: its models, found from its files alone.

Pure functions over a map of files; `mlops init` shows every assumption that they make.
"""

from mlops.config.discovery.found import Discovery, FoundModel
from mlops.config.discovery.models import discover

__all__ = ["Discovery", "FoundModel", "discover"]
