"""A run taken elsewhere: as one page, or as traces for OpenTelemetry."""
