"""Measure how fast the kit is. In: a few videos and a model. Out: times of the usual way, of the kit, and of floors."""
