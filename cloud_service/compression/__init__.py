"""Smaller models: trained, cut and rounded off the devices. Needs `pip install 'cascade-runtime[compress]'`."""
