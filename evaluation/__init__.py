"""Suites, paired tests, the gate and the monitors."""
