"""Measures models/wine.pkl on data/test.csv: metrics.json."""

import csv
import json
import pickle
from pathlib import Path

with Path("models/wine.pkl").open("rb") as file:
    model = pickle.load(file)

with Path("data/test.csv").open(newline="") as file:
    rows = [[float(cell) for cell in row] for row in csv.reader(file)]

accuracy = model.score([row[:-1] for row in rows], [int(row[-1]) for row in rows])
metrics = {"accuracy": round(float(accuracy), 4), "bottles": len(rows)}
Path("metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
