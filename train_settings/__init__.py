"""Training recipes: scripts to copy and edit, one file each."""
