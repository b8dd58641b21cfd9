"""The entropy coder: interleaved range asymmetric numeral systems on integer tables, as ``docs/bitstream.md`` says.

- `compiling`: numba where it is there, plain Python where not;
- `layout`: the numbers of the format;
- `kernels`: the loops over symbols;
- `tables`: what the loops need of a frequency table;
- `words`: how states and words become bytes.

Codecs use it by way of `lamofcbench.codecs.entropy`.

Sources: asymmetric numeral systems, Duda, arXiv 1311.2540; interleaving, Giesen, arXiv 1402.3392.
"""
