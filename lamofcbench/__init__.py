"""LaMoFCBench: the benchmark for coding the intermediate features of large models in split execution.

    raw input ──front──► FeatureSet ──shards──► Hub or disk ──load_dataset──► FeatureSet
    └────────── dataset_builders/ ──────────┘                                     │ encode
                                                                                bytes   ← what is counted
                                                                                  │ decode (fresh codec)
                score ◄──metric── prediction ◄──tail── FeatureSet' ◄──────────────┘
                └───────────────────────── harness/ ──────────────────────────────┘

This package holds what both sides share: scenarios, feature sets, split models, shards, bitstreams, codecs.
"""
