"""The runner: plan, shards, workers, resume, undo, diff."""
