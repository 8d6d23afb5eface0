"""noli: look, don't train."""

__version__ = "0.1.0"
