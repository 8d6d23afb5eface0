"""Choosing a protection for a data set: the candidates, their trials on a sample, the search, the choice."""
