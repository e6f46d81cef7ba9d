"""A world, a behaviour, a condition and an implant that are not flyroom's own."""
