"""A user's own file: which files it consists of, and how they are run as they were hashed."""
