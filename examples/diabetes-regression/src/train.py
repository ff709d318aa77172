"""Fits a ridge regression to data/train.csv: models/progression.pkl."""

import csv
import pickle
from pathlib import Path

import yaml
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

params = yaml.safe_load(Path("params.yaml").read_text())["train"]

with Path("data/train.csv").open(newline="") as file:
    rows = [[float(cell) for cell in row] for row in list(csv.reader(file))[1:]]

model = make_pipeline(StandardScaler(), Ridge(alpha=params["penalty"]))
model.fit([row[:-1] for row in rows], [row[-1] for row in rows])

Path("models").mkdir(exist_ok=True)
with Path("models/progression.pkl").open("wb") as file:
    pickle.dump(model, file)
