"""Carries out Tekton documents on this machine."""
