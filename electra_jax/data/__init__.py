"""Prepared rows: their format, reading them, their order, and batches by position."""
