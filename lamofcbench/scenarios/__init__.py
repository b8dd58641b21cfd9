"""Scenario declarations: what is measured. A file a category, and one for each mini scenario."""
