"""The ledger (truth), the Chroma index (similarity) and the recorder between the model and both."""
