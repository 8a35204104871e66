"""Reports: tables, plots and a page of what trackers reached on a benchmark."""
