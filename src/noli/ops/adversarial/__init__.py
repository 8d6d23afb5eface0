"""Attacks on classifiers that need no setting by hand: the parts of AutoAttack, and its checks."""
