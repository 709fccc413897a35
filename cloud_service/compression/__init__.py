"""Smaller models: trained, cut and rounded off the devices. Needs the extra `compress`."""
