"""Use cases: they ask ports and policy, and act."""
