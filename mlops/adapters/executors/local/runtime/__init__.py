"""Where containers run: sandbox, podman and docker, plain processes; what they may take, how they end."""
