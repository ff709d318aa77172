"""The whole story on a sample project: what `mlops demo` plays."""
