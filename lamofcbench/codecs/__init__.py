"""Codecs: one a file, with the base class, the registry and shared entropy coding."""
