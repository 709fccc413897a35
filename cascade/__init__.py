"""Cascade: a runtime in which small models answer what they can, and what they can't answer climbs."""

__version__ = "0.1.0"
