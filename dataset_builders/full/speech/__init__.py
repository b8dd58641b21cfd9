"""Prompts and selection of the spoken tasks."""
