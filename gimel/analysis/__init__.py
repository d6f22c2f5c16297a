"""Counts in, report out: what the counts of an experiment say about its variants."""
