"""The small edition: a real pretrained decoder that a package ships, on real text, offline on a laptop.

One module a scenario holds its builder; modules with a leading underscore hold what the builders share.
"""
