"""Documents for others to read: PipelineRuns and kustomizations."""
