"""What the error-bounded float codecs share, and the process in which SZ3 decodes."""
