"""The nouns: images, items, keys, models, runs, evidence, errors."""
