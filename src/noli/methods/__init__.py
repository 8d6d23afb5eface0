"""One file per published system; nothing here imports another method."""
