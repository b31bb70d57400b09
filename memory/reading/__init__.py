"""What pages, reports and exports ask of the ledger: a few statements each, whatever the size of the run."""
