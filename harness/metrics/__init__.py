"""Metrics: one a file; each works on additive statistics of single samples."""
