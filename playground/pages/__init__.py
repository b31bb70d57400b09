"""The pages: a module each, which turns what the ledger holds into what a template shows, and lists its routes."""

from quintet.playground.pages import (
    adapters,
    chat,
    compare,
    conversations,
    events,
    lineage,
    memory,
    records,
    rows,
    run,
    runs,
)

PAGES = (runs, run, adapters, compare, conversations, memory, records, rows, lineage, events, chat)
"""All of them, in the order in which their routes are tried."""
