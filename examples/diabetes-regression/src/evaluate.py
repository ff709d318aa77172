"""Measures models/progression.pkl on data/test.csv: metrics.json."""

import csv
import json
import pickle
from pathlib import Path

from sklearn.metrics import mean_absolute_error, r2_score

with Path("models/progression.pkl").open("rb") as file:
    model = pickle.load(file)

with Path("data/test.csv").open(newline="") as file:
    rows = [[float(cell) for cell in row] for row in list(csv.reader(file))[1:]]

measured = [row[-1] for row in rows]
predicted = model.predict([row[:-1] for row in rows])
metrics = {
    "r2": round(float(r2_score(measured, predicted)), 4),
    "mae": round(float(mean_absolute_error(measured, predicted)), 2),
    "patients": len(rows),
}
Path("metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
