"""The model server that stands in a release image; it imports nothing of the rest."""
