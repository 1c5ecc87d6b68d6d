"""Prepared rows, the order in which they are read, and batches as a function of the position."""
