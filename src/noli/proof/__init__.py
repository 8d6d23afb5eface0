"""Proving use: secrets committed before release, queries in a chained transcript, one bundle to check."""
