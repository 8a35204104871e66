"""A landmark: `ebm plugin install --ltr` looks for this file."""
