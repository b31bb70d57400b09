"""Environments that come with Quintet."""
