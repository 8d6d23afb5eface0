"""The runner for texts: read a collection, find places, release, seal the record, restore."""
