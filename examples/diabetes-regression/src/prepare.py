"""Splits scikit-learn's diabetes data, in the units it was measured in: data/train.csv, data/test.csv."""

import csv
from pathlib import Path

import yaml
from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split

params = yaml.safe_load(Path("params.yaml").read_text())["prepare"]
data = load_diabetes(scaled=False)
patients = [[*row, progression] for row, progression in zip(data.data, data.target, strict=True)]
train, test = train_test_split(
    patients, test_size=params["test_share"], random_state=params["seed"]
)

Path("data").mkdir(exist_ok=True)
for name, part in (("train", train), ("test", test)):
    with Path(f"data/{name}.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*data.feature_names, "progression"])
        writer.writerows(part)
