"""The roles' words, one Jinja template a role."""
