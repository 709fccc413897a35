"""Engines that run models. `backend.py` says what an engine owes; each other room is one engine."""
