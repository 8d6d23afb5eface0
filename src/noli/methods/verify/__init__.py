"""Methods that judge protected data."""
