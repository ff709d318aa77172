"""The built-in model server. It stands alone in a release image, as package `mlops_serving`, and
imports nothing of the rest: Open Inference Protocol v2, health, Prometheus metrics."""
