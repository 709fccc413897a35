"""Calibrating a ladder: fitting what its scores mean, when to ask above, and thresholds that carry a guarantee.

Needs scipy, the `cloud` extra. Nothing here runs on a device: what is computed goes into bundles and releases.
"""
