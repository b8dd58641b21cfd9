"""A codec with what it reached, as a model repository on the Hub."""
