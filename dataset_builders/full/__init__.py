"""What makes features of the full edition from published raw data."""
