"""Forges: GitHub, GitLab, Gitea and Forgejo behind one port (docs/explanation/decisions: one transport of ours)."""
