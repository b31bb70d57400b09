"""The two kinds of role, the five players, and their words in templates beside them."""
