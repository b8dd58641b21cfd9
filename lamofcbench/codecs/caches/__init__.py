"""What the codecs made for caches share: which tensors hold tokens, `channel` for the rest, and the parts of `kvtc`."""
