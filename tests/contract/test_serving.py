"""The built-in model server: the Open Inference Protocol as clients speak it, and its metrics."""

import asyncio
import json
import os
import pickle
import shutil
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

import mlops.serving
from mlops.serving import health
from mlops.serving.__main__ import main, release_of
from mlops.serving.app import Server
from mlops.serving.model import ModelError, PickledModel, load, read_note
from mlops.serving.protocol import DATATYPES, Request, RequestError, parse, tensor_of

THRESHOLD = """
class Threshold:
    classes_ = ["low", "high"]

    def predict(self, rows):
        return ["high" if sum(row) > 1 else "low" for row in rows]

    def predict_proba(self, rows):
        return [[0.25, 0.75] for _ in rows]
"""


class Classifier:
    classes_ = ("low", "high")

    def predict(self, rows):
        return ["high" if sum(row) > 1 else "low" for row in rows]

    def predict_proba(self, rows):
        return [[0.25, 0.75] for _ in rows]


class Regressor:
    def predict(self, rows):
        if any(len(row) != 2 for row in rows):
            raise ValueError("expects 2 features")
        return [row[0] * 2.5 + row[1] for row in rows]


class Columns:
    feature_names_in_ = ("a", "b")

    def predict(self, rows):
        return [f"{a}-{b}" for a, b in rows]


class Failing:
    def predict(self, rows):
        raise RuntimeError("secret detail")


class Http:
    """A client of an application in this process."""

    def __init__(self, app: Any) -> None:
        self._app = app

    def get(self, path: str) -> httpx.Response:
        return self.request("GET", path)

    def post(self, path: str, **kwargs: Any) -> httpx.Response:
        return self.request("POST", path, **kwargs)

    def request(self, method: str, path: str, **kwargs: Any) -> httpx.Response:
        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(self._app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://here") as http:
                return await http.request(method, path, **kwargs)

        return asyncio.run(send())


def client(estimator: Any, **kwargs: Any) -> Http:
    return Http(Server(PickledModel(estimator), "wine", "wine@sha256:abc", **kwargs).app())


def tensor(rows: list[list[Any]], datatype: str = "FP64", name: str = "x") -> dict[str, Any]:
    return {"name": name, "shape": [len(rows), len(rows[0])], "datatype": datatype, "data": rows}


def ask(http: Http, *inputs: dict[str, Any], **more: Any) -> Any:
    return http.post("/v2/models/wine/infer", json={"inputs": list(inputs), **more})


def samples(http: Http, name: str) -> dict[str, float]:
    """Value by the label that is not model or release."""
    found = {}
    for family in text_string_to_metric_families(http.get("/metrics").text):
        for sample in family.samples:
            if sample.name == name:
                labels = dict(sample.labels)
                assert labels.pop("model") == "wine"
                assert labels.pop("release") == "wine@sha256:abc"
                found["".join(labels.values())] = sample.value
    return found


def test_predicts_as_the_protocol_says():
    answer = ask(client(Classifier()), tensor([[0.5, 0.2], [1.5, 2.0]]), id="42")
    assert answer.status_code == 200
    assert answer.json() == {
        "model_name": "wine",
        "model_version": "wine@sha256:abc",
        "id": "42",
        "outputs": [
            {"name": "predict", "shape": [2], "datatype": "BYTES", "data": ["low", "high"]}
        ],
    }


def test_flat_data_is_the_same_as_nested():
    http = client(Regressor())
    flat = {"name": "x", "shape": [2, 2], "datatype": "FP32", "data": [1, 2, 3, 4]}
    nested = ask(http, tensor([[1, 2], [3, 4]], "FP32")).json()
    assert ask(http, flat).json() == nested
    assert nested["outputs"] == [
        {"name": "predict", "shape": [2], "datatype": "FP64", "data": [4.5, 11.5]}
    ]


def test_outputs_are_chosen_by_name():
    http = client(Classifier())
    wanted = [{"name": "predict_proba"}, {"name": "predict"}]
    outputs = ask(http, tensor([[2, 2]]), outputs=wanted).json()["outputs"]
    assert [(o["name"], o["shape"], o["data"]) for o in outputs] == [
        ("predict_proba", [1, 2], [0.25, 0.75]),
        ("predict", [1], ["high"]),
    ]
    refused = ask(http, tensor([[2, 2]]), outputs=[{"name": "transform"}])
    assert refused.status_code == 400
    assert refused.json() == {
        "error": "no output 'transform': this model has predict, predict_proba"
    }


def test_columns_by_the_names_that_the_model_knows():
    http = client(Columns())
    one = {"name": "b", "shape": [2], "datatype": "BYTES", "data": ["x", "y"]}
    two = {"name": "a", "shape": [2], "datatype": "INT64", "data": [1, 2]}
    assert ask(http, one, two).json()["outputs"][0]["data"] == ["1-x", "2-y"]
    missing = ask(http, one)
    assert (missing.status_code, missing.json()["error"]) == (
        400,
        "the model wants an input named 'a'",
    )
    short = {**two, "shape": [1], "data": [1]}
    assert "of one length" in ask(http, one, short).json()["error"]


@pytest.mark.parametrize(
    ("datatype", "value", "good"),
    [
        ("BOOL", True, True),
        ("BOOL", 1, False),
        ("UINT8", 255, True),
        ("UINT8", 256, False),
        ("UINT8", -1, False),
        ("INT8", -128, True),
        ("INT64", 2**63, False),
        ("INT64", 1.5, False),
        ("INT64", True, False),
        ("FP16", 1, True),
        ("FP64", "1", False),
        ("FP64", None, False),
        ("FP64", 10**400, False),
        ("BYTES", "text", True),
        ("BYTES", 1, False),
        ("FP8", 1.0, False),
    ],
)
def test_datatypes(datatype: str, value: Any, good: bool):
    body = {"inputs": [{"name": "x", "shape": [1], "datatype": datatype, "data": [value]}]}
    if good:
        assert parse(json.dumps(body).encode()).inputs[0].values == (value,)
    else:
        with pytest.raises(RequestError, match=r"inputs\[0\]\.data"):
            parse(json.dumps(body).encode())


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"inputs": []}',
        b'{"inputs": [1]}',
        b'{"inputs": [{"name": 1}]}',
        b'{"inputs": [{"name": "x", "datatype": "FP64", "data": [1]}]}',
        b'{"inputs": [{"name": "x", "datatype": "FP64", "shape": [], "data": [1]}]}',
        b'{"inputs": [{"name": "x", "datatype": "FP64", "shape": [-1], "data": [1]}]}',
        b'{"inputs": [{"name": "x", "datatype": "FP64", "shape": [2], "data": [1]}]}',
        b'{"inputs": [{"name": "x", "datatype": "FP64", "shape": [1], "data": {"a": 1}}]}',
        b'{"inputs": [{"name": "x", "datatype": "FP64", "shape": [1]}]}',
        b'{"inputs": [{"name": "x", "datatype": "FP64", "shape": [1], "data": %s1%s}]}'
        % (b"[" * 200, b"]" * 200),
        b"[" * 200_000,
        b'{"inputs": [{"name": "x", "datatype": "FP64", "shape": [1], "data": [1]}], "outputs": 1}',
        b"\xff\xfe",
    ],
)
def test_bad_requests_are_answered_with_the_reason(body: bytes):
    http = client(Regressor())
    answer = http.post("/v2/models/wine/infer", content=body)
    assert answer.status_code == 400
    assert set(answer.json()) == {"error"}
    assert samples(http, "mlops_request_failures_total") == {"": 1.0}
    assert samples(http, "mlops_request_seconds_count") == {"": 0.0}


def test_what_the_model_refuses_is_the_clients_fault_and_what_breaks_it_is_not():
    refused = ask(client(Regressor()), tensor([[1, 2, 3]]))
    assert (refused.status_code, refused.json()) == (
        400,
        {"error": "the model refuses these inputs: expects 2 features"},
    )
    failed = ask(client(Failing()), tensor([[1, 2]]))
    assert failed.status_code == 500
    assert "secret" not in failed.text


def test_a_large_body_is_cut_off():
    http = client(Regressor(), most_bytes=1000)
    answer = http.post("/v2/models/wine/infer", content=b" " * 1001)
    assert (answer.status_code, answer.json()) == (413, {"error": "the body is over 1000 bytes"})

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b" " * 100

    assert http.post("/v2/models/wine/infer", content=chunks()).status_code == 413


@pytest.mark.parametrize("path", ["/v2/models/beer", "/v2/models/beer/ready", "/nothing"])
def test_what_is_not_here(path: str):
    answer = client(Regressor()).get(path)
    assert answer.status_code == 404
    assert "error" in answer.json()


def test_health_and_metadata():
    http = client(Classifier())
    assert http.get("/healthz").json()["release"] == "wine@sha256:abc"
    assert http.get("/v2/health/live").json() == {"live": True}
    assert http.get("/v2/health/ready").json() == {"ready": True}
    assert http.get("/v2/models/wine/ready").json()["ready"] is True
    assert http.get("/v2").json()["name"] == "mlops"
    about = http.get("/v2/models/wine").json()
    assert (about["name"], about["versions"], about["platform"]) == (
        "wine",
        ["wine@sha256:abc"],
        "python",
    )
    assert http.get("/v2/models/wine/infer").status_code == 405


def test_counts_a_classifiers_predictions_by_value():
    http = client(Classifier())
    ask(http, tensor([[0, 0], [2, 2], [2, 2]]))
    ask(http, tensor([[0, 0]]), outputs=[{"name": "predict"}, {"name": "predict_proba"}])
    assert samples(http, "mlops_predictions_total") == {"low": 2.0, "high": 2.0}
    assert samples(http, "mlops_request_seconds_count") == {"": 2.0}


def test_label_values_are_bounded():
    class Parrot:
        def predict(self, rows):
            return [row[0] for row in rows]

    http = client(Parrot())
    ask(http, tensor([[f"v{n}"] for n in range(150)], "BYTES"))
    ask(http, tensor([["x" * 1000]], "BYTES"))
    found = samples(http, "mlops_predictions_total")
    assert len(found) == 101
    assert found["other"] == 51.0

    class Liar(Parrot):
        classes_ = ("a",)

    http = client(Liar())
    ask(http, tensor([["a"], ["b"], ["c"]], "BYTES"))
    assert samples(http, "mlops_predictions_total") == {"a": 1.0, "other": 2.0}


def test_observes_a_regressors_values():
    http = client(Regressor())
    ask(http, tensor([[1, 0], [-2, 0]]))
    buckets = samples(http, "mlops_prediction_value_bucket")
    assert buckets["+Inf"] == 2.0
    assert (buckets["-5.0"], buckets["-2.5"], buckets["2.5"]) == (1.0, 1.0, 2.0)
    assert samples(http, "mlops_prediction_value_count") == {"": 2.0}
    assert samples(http, "mlops_predictions_total") == {}


def test_what_is_not_finite_becomes_null():
    assert tensor_of("y", [float("nan"), 1.0, float("inf")]).document()["data"] == [None, 1.0, None]


def test_every_datatype_of_the_protocol_is_known():
    assert len(DATATYPES) == 13


# -- loading


def pickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str = "model.pkl") -> Path:
    """A pickle whose class is in the module `threshold`, beside it."""
    (tmp_path / "threshold.py").write_text(THRESHOLD)
    monkeypatch.syspath_prepend(tmp_path)
    module = __import__("threshold")
    path = tmp_path / name
    path.write_bytes(pickle.dumps(module.Threshold()))
    monkeypatch.delitem(sys.modules, "threshold")
    return path


def test_loads_a_pickle_and_the_one_in_a_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = pickled(tmp_path, monkeypatch)
    for artifact in (path, tmp_path):
        model = load(artifact)
        assert model.classes == ("low", "high")
        body = {"inputs": [tensor([[2.0, 3.0]])]}
        assert model.infer(parse(json.dumps(body).encode()))[0].values == ("high",)
    assert model.infer(Request(parse(json.dumps(body).encode()).inputs, ("predict_proba",)))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("model.pkl", b"", "cannot be loaded"),
        ("model.pkl", b"cnothing_there\nThing\n.", "needs the module nothing_there"),
        ("model.pkl", b"c__main__\nThing\n.", "Define the model's classes in a module"),
        ("model.pkl", pickle.dumps({"a": 1}), "a dict has no predict method"),
        ("model.onnx", b"x", "needs onnxruntime: add it to your requirements"),
        ("model.h5", b"x", "no model that this server knows"),
        ("absent.pkl", None, "cannot be loaded"),
    ],
)
def test_what_cannot_be_loaded_says_why(
    tmp_path: Path, name: str, content: bytes | None, message: str
):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match=message):
        load(tmp_path / name)


def test_a_directory_of_several_models_is_refused(tmp_path: Path):
    for name in ("a.pkl", "b.pkl"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(ModelError, match="holds 2 model files"):
        load(tmp_path)


def test_the_release_label():
    assert release_of({"MLOPS_RELEASE": "wine@sha256:1"}, "wine") == "wine@sha256:1"
    assert release_of({"MLOPS_SOURCE": "0123456789abcdef"}, "wine") == "wine@source-0123456789ab"


def test_ports():
    names = ("MLOPS_PORT", "PORT")
    assert health.number({}, names, 8080) == 8080
    assert health.number({"PORT": "9000"}, names, 8080) == 9000
    assert health.number({"PORT": "9000", "MLOPS_PORT": "9001"}, names, 8080) == 9001
    # a Service named mlops makes Kubernetes set this
    assert health.number({"PORT": "9000", "MLOPS_PORT": "tcp://10.0.0.1:80"}, names, 8080) == 9000
    for text in ("x", "-1", "0", "１"):
        with pytest.raises(health.SettingError, match="PORT is"):
            health.number({"PORT": text}, names, 8080)


def test_a_missing_note_ends_with_the_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main({"MLOPS_MODEL_FILE": str(tmp_path / "absent.json")}) == 1
    assert capsys.readouterr().err.startswith(f"error: {tmp_path}/absent.json names no model")
    (tmp_path / "n.json").write_text("[]")
    with pytest.raises(ModelError):
        read_note(tmp_path / "n.json")


# -- as a release image has it


def alone(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    source = Path(mlops.serving.__file__).parent
    shutil.copytree(source, home / "mlops_serving", ignore=shutil.ignore_patterns("__pycache__"))
    return home


def test_it_stands_alone(tmp_path: Path):
    ask_modules = (
        "import sys, mlops_serving.__main__\n"
        "print([m for m in sys.modules if m == 'mlops' or m.startswith('mlops.')])"
    )
    env = {"PYTHONPATH": str(alone(tmp_path)), "PATH": os.environ["PATH"]}
    out = subprocess.run(
        [sys.executable, "-c", ask_modules], env=env, capture_output=True, text=True, check=True
    )
    assert out.stdout == "[]\n"


def test_serves_as_a_program_and_ends_when_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    model = pickled(tmp_path, monkeypatch)
    note = tmp_path / "model.json"
    note.write_text(json.dumps({"model": "wine", "artifact": str(model)}))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = {
        "PYTHONPATH": f"{alone(tmp_path)}:{tmp_path}",
        "PATH": os.environ["PATH"],
        "MLOPS_MODEL_FILE": str(note),
        "MLOPS_HOST": "127.0.0.1",
        "MLOPS_PORT": str(port),
        "MLOPS_SOURCE": "0123456789abcdef",
    }
    argv = [sys.executable, "-m", "mlops_serving"]
    with subprocess.Popen(argv, env=env, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stderr is not None
            for line in server.stderr:
                if "Uvicorn running" in line:
                    break
            url = f"http://127.0.0.1:{port}"
            body = json.dumps({"inputs": [tensor([[2.0, 3.0]])]}).encode()
            with urllib.request.urlopen(f"{url}/v2/models/wine/infer", body) as answer:
                assert json.load(answer)["outputs"][0]["data"] == ["high"]
            with urllib.request.urlopen(f"{url}/metrics") as answer:
                text = answer.read().decode()
            expected = 'mlops_predictions_total{model="wine",release="wine@source-0123456789ab",value="high"} 1.0'
            assert expected in text
            assert checked(tmp_path, env) == (0, "ready\n")
            server.send_signal(signal.SIGSTOP)
            assert checked(tmp_path, env) == (1, "TimeoutError: timed out\n")
            server.send_signal(signal.SIGCONT)
        finally:
            server.send_signal(signal.SIGTERM)
        server.stderr.read()
        assert server.wait() in (0, -signal.SIGTERM)


def checked(tmp_path: Path, env: dict[str, str]) -> tuple[int, str]:
    """What the image's health check says, by a Python that has neither packages nor the project."""
    argv = [sys.executable, "-I", "-S", str(tmp_path / "home/mlops_serving/health.py")]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", "/v2/health/ready answers 503"),
        (b"nonsense\r\n\r\n", "BadStatusLine"),
        (b"", "RemoteDisconnected"),
    ],
)
def test_the_health_check_of_what_is_not_ready(answer: bytes, said: str):
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def once() -> None:
            client, _ = listening.accept()
            with client:
                client.recv(4096)
                client.sendall(answer)

        thread = threading.Thread(target=once)
        thread.start()
        env = {"PORT": str(listening.getsockname()[1])}
        assert said in health.complaint(env)
        thread.join()
    assert "ConnectionRefusedError" in health.complaint(env)
    assert health.main({"PORT": "http"}) == 1
    assert "PORT is 'http'" in health.complaint({"PORT": "http"})
