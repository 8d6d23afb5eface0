"""English words: their synonyms, how rare they are, and which words of a text may be replaced."""

from noli.ops.lexicon.frequency import rarity
from noli.ops.lexicon.lexicon import Lexicon, english
from noli.ops.lexicon.similar import keep_similar
from noli.ops.lexicon.slots import Predict, Slot, find
from noli.ops.lexicon.words import needs_an

__all__ = ["Lexicon", "Predict", "Slot", "english", "find", "keep_similar", "needs_an", "rarity"]
