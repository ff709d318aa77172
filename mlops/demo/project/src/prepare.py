"""Joins the labels with the measurements and splits them: data/train.csv, data/test.csv."""

import csv
from pathlib import Path

import yaml
from sklearn.datasets import load_wine
from sklearn.model_selection import train_test_split

params = yaml.safe_load(Path("params.yaml").read_text())["prepare"]
measurements = load_wine().data

with Path("data/labels.csv").open() as labels:
    bottles = [(int(row["bottle"]), int(row["cultivar"])) for row in csv.DictReader(labels)]

train, test = train_test_split(
    sorted(bottles),
    test_size=params["test_share"],
    random_state=params["seed"],
    stratify=[cultivar for _, cultivar in sorted(bottles)],
)
for name, part in (("train", train), ("test", test)):
    with Path(f"data/{name}.csv").open("w", newline="") as file:
        csv.writer(file).writerows([*measurements[bottle], cultivar] for bottle, cultivar in part)
