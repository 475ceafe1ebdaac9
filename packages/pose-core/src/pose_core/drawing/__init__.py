"""Drawing: skeletons, heatmaps, contact sheets and plots."""
