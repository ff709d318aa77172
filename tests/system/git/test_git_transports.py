"""Fetch and push over ssh and http for real, and each way to be refused on the way."""

from __future__ import annotations

import pytest

from mlops.adapters.git import remote
from mlops.errors import GitError
from mlops.ports import Published
from tests.system.git.servers import http, self_signed, sshd

PIN = "environments/dev/kustomization.yaml"
LOGIN = "ada:correct-horse"


def publish(gitops, content=b"1\n"):
    return gitops.publish(gitops.refresh(), {PIN: content}, "pin")


def landed(sandbox):
    return sandbox.git(sandbox.remote, "rev-parse", "main")


@pytest.fixture
def trap(sandbox, monkeypatch):
    """What git or ssh would ask a person with: a window, in each way that there is."""
    mark = sandbox.directory / "asked"
    window = str(sandbox.script(sandbox.directory / "window", f"touch {mark}; echo secret"))
    monkeypatch.setenv("SSH_ASKPASS", window)
    monkeypatch.setenv("SSH_ASKPASS_REQUIRE", "force")
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setenv("GIT_TERMINAL_PROMPT", "1")
    yield window
    assert not mark.exists(), "a person was asked"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with sshd(tmp_path_factory.mktemp("ssh") / "server") as running:
        yield running


@pytest.fixture
def over_ssh(sandbox, server, trap):
    """A clone whose remote is reached by ssh, with what to change in `ssh -F`."""
    where = sandbox.clone("a")
    sandbox.git(where, "remote", "set-url", "origin", server.url(sandbox.remote))

    def opened(**options):
        config = server.configured(f"{where.parent.parent.name}-config", **options)
        sandbox.git(where, "config", "core.sshCommand", f"ssh -F {config}")
        return sandbox.gitops(where)

    return opened


class TestSsh:
    def test_fetch_and_push(self, sandbox, over_ssh):
        gitops = over_ssh()
        done = publish(gitops)
        assert isinstance(done, Published)
        assert landed(sandbox) == done.commit.sha
        assert gitops.refresh() == done.commit

    def test_the_command_of_the_environment(self, sandbox, over_ssh, server, monkeypatch):
        gitops = over_ssh(IdentityFile=str(server.directory / "stranger"))
        monkeypatch.setenv("GIT_SSH_COMMAND", f"ssh -F {server.config}")
        assert isinstance(publish(gitops), Published)

    def test_a_key_that_is_not_known(self, sandbox, over_ssh, server):
        before = landed(sandbox)
        with pytest.raises(GitError, match=r"credentials.*Permission denied") as raised:
            publish(over_ssh(IdentityFile=str(server.directory / "stranger")))
        assert not raised.value.retryable
        assert "git fetch" in raised.value.hint
        assert landed(sandbox) == before

    def test_a_key_with_a_passphrase_that_no_agent_has(self, over_ssh, server, sandbox):
        locked = sandbox.directory / "locked"
        sandbox.script(
            sandbox.directory / "make", f"ssh-keygen -q -t ed25519 -N secret -f {locked}"
        )
        sandbox.git(sandbox.directory, "-c", f"alias.make=!{sandbox.directory}/make", "make")
        with pytest.raises(GitError, match="credentials"):
            over_ssh(IdentityFile=str(locked)).refresh()

    def test_another_host_key(self, over_ssh, server):
        public = (server.directory / "other-host.pub").read_text().split()[:2]
        known = server.directory / "changed"
        known.write_text(f"[127.0.0.1]:{server.port} {' '.join(public)}\n")
        with pytest.raises(GitError, match="host key") as raised:
            over_ssh(UserKnownHostsFile=str(known)).refresh()
        assert not raised.value.retryable

    def test_a_host_that_was_never_met(self, over_ssh):
        with pytest.raises(GitError, match="host key") as raised:
            over_ssh(UserKnownHostsFile="/dev/null").refresh()
        assert "ssh-keyscan" in raised.value.hint

    def test_no_such_repository(self, sandbox, over_ssh, server):
        gitops = over_ssh()
        url = server.url(sandbox.directory / "gone.git")
        sandbox.git(sandbox.directory / "a", "remote", "set-url", "origin", url)
        with pytest.raises(GitError, match="no such remote repository"):
            gitops.refresh()

    def test_nobody_listens(self, over_ssh, monkeypatch):
        monkeypatch.setattr(remote, "_PATIENCE", 0.0)
        with pytest.raises(GitError, match="cannot be reached") as raised:
            over_ssh(Port="1").refresh()
        assert raised.value.retryable

    def test_a_hook_of_the_remote(self, sandbox, over_ssh):
        sandbox.script(sandbox.remote / "hooks" / "pre-receive", "echo no pins on Friday; exit 1")
        with pytest.raises(GitError, match=r"declined.*nothing was changed.*no pins on Friday"):
            publish(over_ssh())


class TestHttp:
    @pytest.fixture
    def served(self, sandbox, trap):
        where = sandbox.clone("a")
        sandbox.git(sandbox.remote, "config", "http.receivepack", "true")
        with http(sandbox.directory, LOGIN) as running:
            sandbox.git(where, "remote", "set-url", "origin", running.url(sandbox.remote))
            yield running

    def helper(self, sandbox, settings, secret="correct-horse"):  # noqa: S107 - of a server that lives for a test
        """A credential helper of the user's, as forges tell to configure one."""
        told = sandbox.directory / "told"
        program = sandbox.script(
            sandbox.directory / "helper",
            f'echo "$1" >> {told}; [ "$1" = get ] || exit 0\necho username=ada\necho password={secret}',
        )
        with settings.open("a") as config:
            config.write(f"[credential]\n helper = {program}\n")
        return told

    def test_a_credential_helper_answers(self, sandbox, settings, served):
        told = self.helper(sandbox, settings)
        gitops = sandbox.gitops(sandbox.directory / "a")
        done = publish(gitops)
        assert landed(sandbox) == done.commit.sha
        assert gitops.refresh() == done.commit
        assert "get" in told.read_text().split()

    def test_a_helper_that_is_wrong(self, sandbox, settings, served):
        told = self.helper(sandbox, settings, "wrong-donkey")
        before = landed(sandbox)
        with pytest.raises(GitError, match="credentials") as raised:
            publish(sandbox.gitops(sandbox.directory / "a"))
        assert "wrong-donkey" not in str(raised.value)
        assert "erase" in told.read_text().split(), "and the helper hears of it"
        assert landed(sandbox) == before

    @pytest.mark.parametrize("where", ["core.askPass", "SSH_ASKPASS", "nothing"])
    def test_nobody_is_asked(self, sandbox, served, trap, where, monkeypatch):
        if where == "core.askPass":
            sandbox.git(sandbox.directory / "a", "config", "core.askPass", trap)
        if where == "nothing":
            monkeypatch.delenv("SSH_ASKPASS")
        with pytest.raises(GitError, match="credentials"):
            sandbox.gitops(sandbox.directory / "a").refresh()

    def test_a_program_that_answers_for_the_pipeline(self, sandbox, served, monkeypatch):
        """GIT_ASKPASS is how continuous integration hands over a token."""
        program = sandbox.script(
            sandbox.directory / "token",
            'case "$1" in User*) echo ada;; *) echo correct-horse;; esac',
        )
        monkeypatch.setenv("GIT_ASKPASS", str(program))
        assert isinstance(publish(sandbox.gitops(sandbox.directory / "a")), Published)

    def test_a_password_in_the_url_is_never_shown(self, sandbox, served):
        where = sandbox.directory / "a"
        sandbox.git(where, "remote", "set-url", "origin", served.url(sandbox.remote, LOGIN))
        gitops = sandbox.gitops(where)
        publish(gitops)
        served.answer = (403, "forbidden")
        with pytest.raises(GitError, match="credentials") as raised:
            gitops.refresh()
        assert "correct-horse" not in str(raised.value)
        assert gitops.repository.remote_url() == served.url(sandbox.remote)

    @pytest.mark.parametrize(
        ("answer", "says", "again"),
        [
            ((429, "slow down"), "no more requests for now", True),
            ((403, "This repository was archived so it is read-only."), "read-only", False),
            ((403, "Permission to o/r.git denied to ada."), "credentials", False),
            ((404, "not here"), "no such remote repository", False),
            ((500, "sorry"), "cannot be reached", True),
            ((503, "sorry"), "cannot be reached", True),
            ((200, "<html>\n<body>\nPlease log in\n</html>\n"), "no git server", False),
        ],
    )  # fmt: skip
    def test_what_a_forge_answers(
        self, sandbox, settings, served, answer, says, again, monkeypatch
    ):
        monkeypatch.setattr(remote, "_PATIENCE", 0.0)
        self.helper(sandbox, settings)
        served.answer = answer
        with pytest.raises(GitError, match=says) as raised:
            sandbox.gitops(sandbox.directory / "a").refresh()
        assert raised.value.retryable is again

    def test_may_read_and_not_write(self, sandbox, settings, served):
        self.helper(sandbox, settings)
        sandbox.git(sandbox.remote, "config", "http.receivepack", "false")
        gitops = sandbox.gitops(sandbox.directory / "a")
        base = gitops.refresh()
        with pytest.raises(GitError, match=r"credentials.*nothing was changed"):
            gitops.publish(base, {PIN: b"1\n"}, "pin")
        assert landed(sandbox) == base.sha

    def test_a_remote_without_room(self, sandbox, settings, served):
        self.helper(sandbox, settings)
        sandbox.git(sandbox.remote, "config", "receive.maxInputSize", "100")
        gitops = sandbox.gitops(sandbox.directory / "a")
        base = gitops.refresh()
        with pytest.raises(GitError, match=r"no room.*nothing was changed.*maximum allowed size"):
            gitops.publish(base, {PIN: bytes(range(256)) * 40}, "pin")
        assert landed(sandbox) == base.sha


class TestTls:
    @pytest.fixture
    def served(self, sandbox, trap):
        where = sandbox.clone("a")
        sandbox.git(sandbox.remote, "config", "http.receivepack", "true")
        with http(sandbox.directory, certificate=self_signed(sandbox.directory)) as running:
            sandbox.git(where, "remote", "set-url", "origin", running.url(sandbox.remote))
            yield running

    def test_a_certificate_that_is_trusted(self, sandbox, served):
        where = sandbox.directory / "a"
        sandbox.git(where, "config", "http.sslCAInfo", str(sandbox.directory / "server.pem"))
        done = publish(sandbox.gitops(where))
        assert landed(sandbox) == done.commit.sha

    @pytest.mark.parametrize("trusted", ["", "other"])
    def test_one_that_is_not(self, sandbox, served, trusted):
        where = sandbox.directory / "a"
        if trusted:
            other = self_signed(sandbox.directory, "other")
            sandbox.git(where, "config", "http.sslCAInfo", str(other))
        with pytest.raises(GitError, match="certificate is not trusted") as raised:
            sandbox.gitops(where).refresh()
        assert not raised.value.retryable
        assert "http.sslCAInfo" in raised.value.hint
        assert served.asked == []

    def test_one_for_another_host(self, sandbox, trap):
        where = sandbox.clone("a")
        certificate = self_signed(sandbox.directory, "elsewhere", "DNS:elsewhere.example")
        with http(sandbox.directory, certificate=certificate) as running:
            sandbox.git(where, "remote", "set-url", "origin", running.url(sandbox.remote))
            sandbox.git(where, "config", "http.sslCAInfo", str(certificate))
            with pytest.raises(GitError, match="certificate"):
                sandbox.gitops(where).refresh()
