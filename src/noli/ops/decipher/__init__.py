"""Classical attacks on perceptual encryption: what a picture is worth to somebody without the key.

The attacker knows scheme, size of blocks and the attack, never the key (Kerckhoffs). What he has besides the
scrambled pictures differs: nothing (:mod:`.brightness`, :mod:`.jigsaw`), public pictures of the same kind
(:mod:`.statistics`), pairs of plain and scrambled pictures or a machine that scrambles whatever it is given
(:mod:`.pairs`), or the knowledge that the key came from an integer (:mod:`.seeds`). :mod:`.scores` says how
much was found and how much is left to guess. For codes, :mod:`.tokens` and :mod:`.rematch`
tell which set of vectors belongs to which picture (NeuraCrypt), and :mod:`.mixtures`, :mod:`.absolute` and
:mod:`.mixed_seeds` bring mixed pictures back (InstaHide).

Every attack says how sure it is by a figure that needs no plain picture. Restarts and ties are decided by the
attack's own objective, never by the truth.
"""
