"""Between this package and a checkout of pytracking, both ways; nothing of theirs is imported before a call."""
