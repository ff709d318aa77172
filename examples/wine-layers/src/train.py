"""Trains a random forest on data/train.csv: models/wine.pkl."""

import csv
import pickle
from pathlib import Path

import yaml
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from wines.features import Ratios

params = yaml.safe_load(Path("params.yaml").read_text())["train"]

with Path("data/train.csv").open(newline="") as file:
    rows = [[float(cell) for cell in row] for row in csv.reader(file)]

forest = RandomForestClassifier(params["trees"], max_depth=params["depth"], random_state=0)
model = make_pipeline(Ratios(), forest)
model.fit([row[:-1] for row in rows], [int(row[-1]) for row in rows])

Path("models").mkdir(exist_ok=True)
with Path("models/wine.pkl").open("wb") as file:
    pickle.dump(model, file)
