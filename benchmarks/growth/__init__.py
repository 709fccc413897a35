"""How cost grows: 1 to 1,000 devices on one gateway."""
