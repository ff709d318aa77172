"""YAML, read as input from strangers and written so that nobody misreads it.

Reading: size, depth and alias expansion are capped, duplicate keys and foreign tags refused, and
every value knows its line. Writing: every string that a reader of YAML 1.1 or 1.2 could take for
something else is quoted.
"""

from mlops.documents.nodes import Document, Kind, Node, Path, dotted
from mlops.documents.reading import ALIASES, LIMIT, load, load_all
from mlops.documents.scalars import DEPTH, Schema, quote, resolve
from mlops.documents.writing import dump

__all__ = [
    "ALIASES",
    "DEPTH",
    "LIMIT",
    "Document",
    "Kind",
    "Node",
    "Path",
    "Schema",
    "dotted",
    "dump",
    "load",
    "load_all",
    "quote",
    "resolve",
]
