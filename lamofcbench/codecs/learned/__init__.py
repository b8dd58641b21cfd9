"""Learned image codecs on planes of k-means indices: networks, planes, entropy coding, checkpoints.

`networks` names the networks, `planes` turns feature sets into what they see, `codec` joins both into a codec.
"""
