"""Reads the features that were published with the benchmark, and writes them as datasets."""
