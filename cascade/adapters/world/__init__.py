"""A whole cascade in memory: devices, gateways, a cloud, their links and their clock, with faults that a seed decides.

The hops are the ones that run on devices. Only what is around them is simulated: `clock.py` time, `link.py` the way
between two hops, `node.py` the shell, `fleet.py` all of it together and the books that must balance. The models may be
invented by a test, or those of a release (`models.py`). `in_memory.py` is the door for programs.
"""

from cascade.adapters.world.in_memory import InMemoryCascade, Stood, Totals
from cascade.adapters.world.link import Weather

__all__ = ["InMemoryCascade", "Stood", "Totals", "Weather"]
