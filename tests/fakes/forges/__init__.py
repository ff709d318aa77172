"""Forges that stand for GitHub, GitLab, Gitea and Forgejo: in this process, over real HTTP on loopback, with state."""

from tests.fakes.forges.gitea import FakeGitea
from tests.fakes.forges.github import FakeGitHub
from tests.fakes.forges.gitlab import FakeGitLab
from tests.fakes.forges.server import FakeForge, Fault

BY_KIND = {"github": FakeGitHub, "gitlab": FakeGitLab, "gitea": FakeGitea, "forgejo": FakeGitea}

__all__ = ["BY_KIND", "FakeForge", "FakeGitHub", "FakeGitLab", "FakeGitea", "Fault"]
