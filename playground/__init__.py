"""The playground: a web page on the runs of a workspace. It reads the ledger and changes nothing."""
