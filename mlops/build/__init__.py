"""Images from reproducible layers."""
