"""How toolkits turn boxes into figures: one module for each, never mixed silently."""
