"""Pure decisions: time and history come in as arguments; a refusal is a value."""
