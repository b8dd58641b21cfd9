"""`hyperprior`: the published baseline of k-means indices under the scale hyperprior, a learned image codec."""

from __future__ import annotations

from lamofcbench.codecs.learned.codec import LearnedCodec


class HyperpriorCodec(LearnedCodec):
    """Codes k-means indices as images with a scale hyperprior: a Gaussian of transmitted scale for each latent.

    The network is that of Balle et al., arXiv 1802.01436; the pipeline that of arXiv 2506.16495.
    """

    paper = "https://arxiv.org/abs/1802.01436"
    network_name = "hyperprior"
