"""Serving engines: codecs behind the interfaces through which these store and send caches."""
