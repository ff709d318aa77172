"""The command line: parse, wire, one use case, render."""
