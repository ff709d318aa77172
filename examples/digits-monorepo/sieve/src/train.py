"""Learns what scans of digits look like, so as to keep all else from the reader: models/sieve.pkl.

The model answers 1 for what may be a digit and -1 for what is none.
"""

import pickle
from pathlib import Path

import yaml
from scans import scaled, split
from sklearn.ensemble import IsolationForest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

params = yaml.safe_load(Path("params.yaml").read_text())
pixels, _, _, _ = split(**params["split"])

forest = IsolationForest(
    n_estimators=params["train"]["trees"],
    contamination=params["train"]["strays"],
    random_state=0,
)
model = make_pipeline(FunctionTransformer(scaled), forest)
model.fit(pixels)

Path("models").mkdir(exist_ok=True)
with Path("models/sieve.pkl").open("wb") as file:
    pickle.dump(model, file)
