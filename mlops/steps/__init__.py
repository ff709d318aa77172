"""What the tasks of a run do."""
