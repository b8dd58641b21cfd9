"""A run: what is selected, how processes share it, and the pipeline from stored features to results."""
