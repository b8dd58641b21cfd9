"""`elic`: the published baseline of k-means indices under ELIC, a learned image codec with context models."""

from __future__ import annotations

from lamofcbench.codecs.learned.codec import LearnedCodec


class ElicCodec(LearnedCodec):
    """Codes k-means indices as images with ELIC: Gaussians under hyper, channel-group and checkerboard context.

    The network is that of He et al., arXiv 2203.10886; the pipeline that of arXiv 2506.16495.
    """

    paper = "https://arxiv.org/abs/2203.10886"
    network_name = "elic"
