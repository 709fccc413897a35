"""Links between hops. `transport.py` says what a link owes; each other room is one kind of link."""
