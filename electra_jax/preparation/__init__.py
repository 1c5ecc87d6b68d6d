"""Preparation: text, or the reference's TFRecords, to a rows folder."""
