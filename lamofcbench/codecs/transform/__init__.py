"""Joint transform coding: which tensors share rows, what calibration says about the rows, and blocks that code them."""
