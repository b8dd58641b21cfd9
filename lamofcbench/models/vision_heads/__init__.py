"""What stands behind a vision backbone: a head a file."""
