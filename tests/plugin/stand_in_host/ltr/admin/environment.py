"""Where the real one writes ltr/admin/local.py."""
