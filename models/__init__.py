"""Chat models that can swap adapters."""
