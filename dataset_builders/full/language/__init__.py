"""Prompts, references and order of the language tasks."""
