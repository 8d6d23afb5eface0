"""Adapters: what noli talks to outside itself; each imports its library only when it is used."""
