"""Splits scikit-learn's wine data: data/train.csv, data/test.csv."""

import csv
from pathlib import Path

import yaml
from sklearn.datasets import load_wine
from sklearn.model_selection import train_test_split

params = yaml.safe_load(Path("params.yaml").read_text())["prepare"]
measurements, cultivars = load_wine(return_X_y=True)
bottles = [[*row, cultivar] for row, cultivar in zip(measurements, cultivars, strict=True)]
train, test = train_test_split(
    bottles,
    test_size=params["test_share"],
    random_state=params["seed"],
    stratify=cultivars,
)

Path("data").mkdir(exist_ok=True)
for name, part in (("train", train), ("test", test)):
    with Path(f"data/{name}.csv").open("w", newline="") as file:
        csv.writer(file).writerows(part)
