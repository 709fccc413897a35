"""What is claimed about speed and size, measured: ratios in one run, interleaved, medians. Nothing asserts a time."""
