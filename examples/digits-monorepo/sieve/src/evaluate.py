"""How many digits pass, and how much noise is caught (the same pixels in another order): metrics.json."""

import json
import pickle
from pathlib import Path

import numpy as np
import yaml
from scans import split

with Path("models/sieve.pkl").open("rb") as file:
    model = pickle.load(file)

_, pixels, _, _ = split(**yaml.safe_load(Path("params.yaml").read_text())["split"])
noise = np.random.default_rng(0).permuted(pixels, axis=1)
metrics = {
    "passed": round(float((model.predict(pixels) == 1).mean()), 4),
    "caught": round(float((model.predict(noise) == -1).mean()), 4),
}
Path("metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
