"""The mini edition: raw data, training and weights of scenarios that a laptop builds and runs offline.

One module a scenario holds its builder; modules with a leading underscore hold what only training needs.
"""
