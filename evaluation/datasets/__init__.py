"""The benchmarks: folders in the layout of each, as sequences to track and to score."""
