"""What a written file most likely is, from its name: a model, metrics, or neither."""

from __future__ import annotations

import posixpath

# Formats that hold nothing but models, and those that also hold data.
_MODEL_SUFFIXES = (
    *(".bst", ".cbm", ".ckpt", ".gguf", ".h5", ".hdf5", ".joblib", ".keras", ".lgb", ".mlmodel"),
    *(".onnx", ".pkl", ".pickle", ".pmml", ".pt", ".pth", ".safetensors", ".sav", ".skops"),
    *(".tflite", ".ubj", ".xgb"),
)
_MAYBE_SUFFIXES = (".bin", ".json", ".npy", ".npz", ".txt", ".yaml", ".yml", ".zip")
_METRIC_SUFFIXES = (".json", ".yaml", ".yml", ".toml")
_METRIC_WORDS = ("metric", "score", "eval", "report", "result", "performance", "accuracy")
_DATA_WORDS = (
    *("data", "dataset", "feature", "train", "test", "valid", "split", "prepared", "processed"),
    *("raw", "clean", "vectorizer", "encoder", "scaler", "tokenizer", "predictions"),
)


def model_rank(path: str) -> int:
    """How likely `path` is the model: 0 not at all, 3 for a model's name in a model's format."""
    name = posixpath.basename(path).lower()
    suffix = posixpath.splitext(name)[1]
    named = _names_model(path)
    if suffix in _MODEL_SUFFIXES:
        if named:
            return 3
        return 1 if _mentions(posixpath.splitext(name)[0], _DATA_WORDS) else 2
    if metrics_rank(path):
        return 0
    if suffix in _MAYBE_SUFFIXES or not suffix:
        return 2 if named else 0
    return 0


def metrics_rank(path: str) -> int:
    """How likely `path` holds metrics: 0 not at all, 2 for a metrics file by name."""
    name = posixpath.basename(path).lower()
    stem, suffix = posixpath.splitext(name)
    if suffix not in _METRIC_SUFFIXES:
        return 0
    if stem.startswith(("metric", "score")):
        return 2
    return 1 if _mentions(stem, _METRIC_WORDS) else 0


def _names_model(path: str) -> bool:
    stem = posixpath.splitext(posixpath.basename(path).lower())[0]
    folder = posixpath.basename(posixpath.dirname(path)).lower()
    if _mentions(stem, _DATA_WORDS) and "model" not in stem:
        return False
    return any(w in stem for w in ("model", "classifier", "regressor", "estimator")) or folder in (
        "model",
        "models",
    )


def _mentions(stem: str, words: tuple[str, ...]) -> bool:
    return any(word in stem for word in words)
