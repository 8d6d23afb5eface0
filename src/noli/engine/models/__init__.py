"""Marks that go into models."""
