"""The pages: a module each, which turns what the ledger holds into what a template shows, and lists its routes."""

from quintet.playground.pages import runs

PAGES = (runs,)
"""All of them, in the order in which their routes are tried."""
