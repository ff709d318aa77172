"""How many scans that it never saw are read right: metrics.json."""

import json
import pickle
from pathlib import Path

import yaml
from scans import split

with Path("models/reader.pkl").open("rb") as file:
    model = pickle.load(file)

_, pixels, _, digits = split(**yaml.safe_load(Path("params.yaml").read_text())["split"])
metrics = {"accuracy": round(float(model.score(pixels, digits)), 4), "scans": len(digits)}
Path("metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
