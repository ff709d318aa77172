"""GitOps CI/CD for machine learning: commit → plan → run → release → promote → rollback."""

__version__ = "0.1.0"
