"""What is kept of a run: its directory, its states in a journal, its logs; how it is reached from elsewhere."""
