"""ImageNet's classes as data: the WordNet ids in class order, and which of them ImageNet-A and ImageNet-R have."""
