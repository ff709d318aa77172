"""Models: loaded from the artifact in the image, asked for predictions."""

from __future__ import annotations

import importlib
import importlib.util
import json
import pickle
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from .protocol import Request, RequestError, Tensor, tensor_of

PICKLES = (".pkl", ".pickle", ".joblib", ".sav")
ONNX = ".onnx"
_DTYPES = {"FP16": "float16", "FP32": "float32", "FP64": "float64", "BOOL": "bool"}
_METHODS = ("predict", "predict_proba", "decision_function", "transform")


class ModelError(Exception):
    """The model cannot be loaded; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Note:
    """/opt/mlops/model.json: which model the image holds, and where."""

    model: str
    artifact: Path


class Model(Protocol):
    """A loaded model. `platform` is as the protocol's metadata names it; `classes` are the labels that
    it can predict, None where it predicts numbers or does not say."""

    platform: str
    classifier: bool
    classes: tuple[str, ...] | None

    def outputs(self) -> tuple[str, ...]: ...
    def infer(self, request: Request) -> tuple[Tensor, ...]:
        """Raises RequestError where the inputs do not fit the model."""
        ...


def read_note(path: Path) -> Note:
    """Raises ModelError."""
    try:
        document = json.loads(path.read_bytes())
        return Note(str(document["model"]), Path(str(document["artifact"])))
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise ModelError(f"{path} names no model: {exc}") from exc


def load(artifact: Path) -> Model:
    """Load a pickle, a joblib file or an ONNX model. Raises ModelError."""
    path = _file(artifact)
    if path.suffix == ONNX:
        return OnnxModel(path)
    return PickledModel(_unpickle(path))


class PickledModel:
    """Anything with `predict`, as scikit-learn's estimators have it."""

    platform = "python"

    def __init__(self, estimator: Any) -> None:
        if not callable(getattr(estimator, "predict", None)):
            raise ModelError(
                f"a {type(estimator).__name__} has no predict method: name a server of your own in "
                "mlops.yaml (serve: {command: […]})"
            )
        self._estimator = estimator
        classes = _listed(getattr(estimator, "classes_", None))
        self.classes = None if classes is None else tuple(str(value) for value in classes)
        kind = getattr(estimator, "_estimator_type", "")
        self.classifier = (
            classes is not None or kind == "classifier" or hasattr(estimator, "predict_proba")
        )

    def outputs(self) -> tuple[str, ...]:
        return tuple(name for name in _METHODS if callable(getattr(self._estimator, name, None)))

    def infer(self, request: Request) -> tuple[Tensor, ...]:
        names = request.outputs or ("predict",)
        for name in names:
            if name not in self.outputs():
                has = ", ".join(self.outputs())
                raise RequestError(f"no output {name!r}: this model has {has}")
        try:
            features = _features(request.inputs, _listed(self._feature_names()))
            return tuple(tensor_of(n, getattr(self._estimator, n)(features)) for n in names)
        except (ValueError, TypeError, KeyError, IndexError) as exc:
            raise RequestError(f"the model refuses these inputs: {exc}") from exc

    def _feature_names(self) -> Any:
        return getattr(self._estimator, "feature_names_in_", None)


class OnnxModel:
    """An ONNX graph, run by onnxruntime on the CPU."""

    platform = "onnx"

    def __init__(self, path: Path) -> None:
        try:
            runtime = importlib.import_module("onnxruntime")
        except ImportError as exc:
            raise ModelError(
                f"{path} needs onnxruntime: add it to your requirements, then mlops lock"
            ) from exc
        try:
            session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        except Exception as exc:
            raise ModelError(f"{path} is no ONNX model that loads: {exc}") from exc
        self._session = session
        self.classes: tuple[str, ...] | None = None
        # the first output of a classifier's graph is its label, an integer or a text
        first = session.get_outputs()[0].type
        self.classifier = first in ("tensor(int64)", "tensor(string)")

    def outputs(self) -> tuple[str, ...]:
        return tuple(output.name for output in self._session.get_outputs())

    def infer(self, request: Request) -> tuple[Tensor, ...]:
        names = request.outputs or self.outputs()[:1]
        feeds = {tensor.name: _array(tensor) for tensor in request.inputs}
        try:
            found = self._session.run(list(names), feeds)
        except Exception as exc:  # onnxruntime's errors have no common public type
            raise RequestError(f"the model refuses these inputs: {exc}") from exc
        return tuple(tensor_of(name, value) for name, value in zip(names, found, strict=True))


def _features(inputs: Sequence[Tensor], names: Sequence[Any] | None) -> Any:
    """One tensor as it is; several as the columns of a table, by the model's names where it has any."""
    if len(inputs) == 1 and (names is None or len(inputs[0].shape) > 1):
        return _framed(_array(inputs[0]), names)
    columns = {tensor.name: tensor for tensor in inputs}
    order = [str(name) for name in names] if names is not None else list(columns)
    missing = [name for name in order if name not in columns]
    if missing:
        raise RequestError(f"the model wants an input named {missing[0]!r}")
    lengths = {len(columns[name].values) for name in order}
    if len(lengths) != 1:
        raise RequestError("inputs that are columns must be of one length")
    rows = list(zip(*(columns[name].values for name in order), strict=True))
    numpy = _optional("numpy")
    mixed = any(columns[name].datatype == "BYTES" for name in order)
    table = numpy.array(rows, dtype=object if mixed else None) if numpy else [list(r) for r in rows]
    return _framed(table, names)


def _framed(table: Any, names: Sequence[Any] | None) -> Any:
    """With column names where the model was trained with them, so that it can check them."""
    pandas = _optional("pandas") if names is not None else None
    if pandas is None or names is None or getattr(table, "shape", (0, 0))[-1] != len(names):
        return table
    return pandas.DataFrame(table, columns=list(names)).infer_objects()


def _array(tensor: Tensor) -> Any:
    numpy = _optional("numpy")
    if numpy is None:
        return tensor.rows()
    dtype = "object" if tensor.datatype == "BYTES" else _dtype(tensor.datatype)
    return numpy.array(tensor.values, dtype=dtype).reshape(tensor.shape)


def _dtype(datatype: str) -> str:
    return _DTYPES.get(datatype, datatype.lower())


def _optional(name: str) -> Any:
    return importlib.import_module(name) if importlib.util.find_spec(name) else None


def _listed(values: Iterable[Any] | None) -> list[Any] | None:
    """A flat list, None where there is none or it is one for each of several outputs."""
    if values is None:
        return None
    flat = list(values)
    return None if any(isinstance(value, list | tuple) for value in flat) else flat


def _file(artifact: Path) -> Path:
    known = (*PICKLES, ONNX)
    if not artifact.is_dir():
        if artifact.suffix not in known:
            raise ModelError(
                f"{artifact} is no model that this server knows ({', '.join(known)}): name a server "
                "of your own in mlops.yaml (serve: {command: […]})"
            )
        return artifact
    found = [path for path in sorted(artifact.rglob("*")) if path.suffix in known]
    if len(found) != 1:
        raise ModelError(f"{artifact} holds {len(found)} model files; this server serves one")
    return found[0]


def _unpickle(path: Path) -> Any:
    joblib = _optional("joblib")  # its own format, and plain pickles too
    read: Callable[[Path], Any] = joblib.load if joblib else _plain_pickle
    try:
        return read(path)
    except ModuleNotFoundError as exc:
        raise ModelError(
            f"{path} needs the module {exc.name}: add its package to your requirements, or its "
            "directory to build.code"
        ) from exc
    except AttributeError as exc:
        raise ModelError(
            f"{path} refers to code that is not here: {exc}. Define the model's classes in a module "
            "of build.code, not in the script that trains"
        ) from exc
    except Exception as exc:
        raise ModelError(f"{path} cannot be loaded: {exc!r}") from exc


def _plain_pickle(path: Path) -> Any:
    with path.open("rb") as file:
        return pickle.load(file)  # noqa: S301 (the image's own model, pinned by its digest)
