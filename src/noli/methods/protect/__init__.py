"""Methods that make data unlearnable."""
