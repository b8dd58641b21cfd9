"""Vision of the full edition: classification, depth and segmentation."""
