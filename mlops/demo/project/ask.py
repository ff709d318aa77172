"""Asks a running wine model what two bottles are: python ask.py PORT."""

import json
import sys
import time
import urllib.error
import urllib.request

HERE = f"http://127.0.0.1:{sys.argv[1]}"
BOTTLES = [
    [14.23, 1.71, 2.43, 15.6, 127.0, 2.8, 3.06, 0.28, 2.29, 5.64, 1.04, 3.92, 1065.0],
    [13.27, 4.28, 2.26, 20.0, 120.0, 1.59, 0.69, 0.43, 1.35, 10.2, 0.59, 1.56, 835.0],
]


def get(path, body=None):
    request = urllib.request.Request(HERE + path, json.dumps(body).encode() if body else None)
    request.add_header("Content-Type", "application/json")
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as answer:
        return answer.read().decode()


for _ in range(240):  # the server loads the model first
    try:
        get("/healthz")
        break
    except (OSError, urllib.error.URLError):
        time.sleep(0.25)

tensor = {"name": "bottles", "shape": [2, 13], "datatype": "FP64", "data": BOTTLES}
answer = json.loads(get("/v2/models/wine/infer", {"inputs": [tensor]}))
print("cultivars:", answer["outputs"][0]["data"])
for line in get("/metrics").splitlines():
    if line.startswith("mlops_predictions_total"):
        print(line)
