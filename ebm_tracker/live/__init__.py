"""Tracking while it happens: sources, the engine of the viewers, window and page."""
