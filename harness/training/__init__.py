"""Training of the learned codecs' networks on calibration samples: `lamofcbench train`.

    calibration samples ──k-means tables──► index planes ──► crops ──► network ──► loss = bits + lambda * error
         (data)                              (planes)       (crops)               (objective, trainer, schedule)

`ladder` trains the rate points one after another, each from its neighbour, and `export` writes what ships.
"""
