"""Learns which digit a scan shows, by its nearest neighbours: models/reader.pkl."""

import pickle
from pathlib import Path

import yaml
from scans import scaled, split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

params = yaml.safe_load(Path("params.yaml").read_text())
pixels, _, digits, _ = split(**params["split"])

model = make_pipeline(
    FunctionTransformer(scaled), KNeighborsClassifier(params["train"]["neighbours"])
)
model.fit(pixels, digits)

Path("models").mkdir(exist_ok=True)
with Path("models/reader.pkl").open("wb") as file:
    pickle.dump(model, file)
