"""A landmark: `ebm plugin` looks for this file."""
