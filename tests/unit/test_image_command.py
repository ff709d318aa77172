"""`mlops image` as it is typed, up to where it would look at a release."""

from __future__ import annotations

import pytest

from mlops.cli import app


@pytest.mark.parametrize("port", ["0", "-1", "65536", "99999", "x"])
def test_a_port_that_is_none_is_a_usage_error(monkeypatch, capsys, port):
    monkeypatch.setattr("sys.argv", ["mlops", "image", "run", "iris@prod", "--port", port])
    assert app.run() == 2
    said = capsys.readouterr().err
    assert "--port" in said
    assert "a bug in mlops" not in said
