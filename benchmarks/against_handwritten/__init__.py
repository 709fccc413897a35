"""This cascade beside a hand-written one."""
