"""The training recipe and the only training loop."""
