"""A whole cascade in memory: devices, gateways, a cloud, their links and their clock, with faults that a seed decides.

The hops are the ones that run on devices. Only what is around them is simulated: `clock.py` time, `link.py` the way
between two hops, `node.py` the shell, `fleet.py` all of it together and the books that must balance.
"""
