"""What a run leaves: records and results, where they lie, how they are scored, and scored again."""
