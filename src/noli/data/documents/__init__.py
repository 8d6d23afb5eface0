"""Text documents whose words can be replaced while every other byte stays.

`open_texts` reads a file of one of the `SUFFIXES`; `TextFile.rewritten` puts new words in.
"""

from noli.data.documents.edits import Edit, Text, TextFile
from noli.data.documents.opening import SUFFIXES, open_texts

__all__ = ["SUFFIXES", "Edit", "Text", "TextFile", "open_texts"]
