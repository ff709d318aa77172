"""Where and how a run was carried out, as records and attestations tell it."""

from __future__ import annotations

from dataclasses import dataclass

from mlops.steps.sources import Source

# What the local executor tells its steps; on a cluster nothing does.
EXECUTOR = "MLOPS_EXECUTOR"
RUNTIME = "MLOPS_RUNTIME"
_ON_A_CLUSTER = "container"


def of_training(source: Source) -> dict[str, str]:
    """Where training's commands run. Only the sandbox is known to keep the network from them."""
    runtime = source.inputs.env.get(RUNTIME, _ON_A_CLUSTER)
    enforced = runtime == "sandbox"
    off = "none" if enforced else "unenforced"
    return {"runtime": runtime, "network": "on" if source.model.train.network else off}


@dataclass(frozen=True, slots=True)
class Circumstances:
    """`repository` is where the source can be had: the remote's URL, else the directory. `network`
    is what training had: `none`, `on`, or `unenforced` where it was to have none and that could
    not be seen to. `started` is when the run began (RFC 3339)."""

    run: str
    repository: str
    location: str
    executor: str
    runtime: str
    network: str
    started: str

    @classmethod
    def of(cls, source: Source) -> Circumstances:
        env = source.inputs.env
        address = source.inputs.text("repository")
        if source.home is not None:
            address = source.repository.remote_url() or address
        trained = source.state.read("trained.json") if source.state.has("trained.json") else {}
        return cls(
            run=source.inputs.text("run"),
            repository=address,
            location=f"git+{address}@{source.commit.sha}",
            executor=env.get(EXECUTOR, "tekton"),
            runtime=trained.get("runtime") or env.get(RUNTIME, _ON_A_CLUSTER),
            network=trained.get("network", "none"),
            started=source.state.read("started.json")["started"],
        )
