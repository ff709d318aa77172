"""Pictures of a run: its graph laid out, as SVG and as DOT."""
