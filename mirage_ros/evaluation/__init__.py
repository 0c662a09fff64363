"""Metrics and measurements."""
