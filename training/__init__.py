"""Rows to a LoRA adapter, in a process of its own, and the registry that keeps adapters."""
