"""A program for each peer, written as its documentation tells a user to. Each runs in its peer's own environment."""
