"""Documents of all kinds with words that may vary, and how tests read and mark them."""

from __future__ import annotations

import json
import random
import re
import zipfile
from pathlib import Path
from typing import Any

from noli.data.documents import open_texts

PEOPLE = ["clerk", "farmer", "teacher", "lawyer", "doctor", "singer", "painter", "baker", "soldier"]
VERBS = ["purchased", "repaired", "described", "concealed", "admired", "delivered"]
QUALITIES = ["large", "rapid", "tranquil", "peculiar", "wealthy", "huge", "brave", "difficult"]
THINGS = ["vessel", "garment", "manuscript", "automobile", "cottage", "meadow", "jewel"]
MANNERS = ["rapidly", "quietly", "gladly", "sadly", "carefully"]
OPTIONS: dict[str, Any] = {
    "encoder": "none", "least": 4, "passage": 400, "variants": 6, "documents": 24, "alpha": 1e-4
}  # fmt: skip


def story(draw: random.Random, sentences: int = 4) -> str:
    pick = draw.choice
    return " ".join(
        f"The {pick(QUALITIES)} {pick(PEOPLE)} {pick(MANNERS)} {pick(VERBS)} the {pick(QUALITIES)} "
        f"{pick(THINGS)} number {draw.randrange(1000)}."
        for _ in range(sentences)
    )


def write_documents(folder: Path, seed: int = 0) -> Path:
    draw = random.Random(seed)
    (folder / "sub").mkdir(parents=True)
    for number in range(4):
        text = "\r\n\r\n".join(story(draw) for _ in range(5))
        (folder / f"{number}.txt").write_bytes(text.encode())
    (folder / "notes.md").write_text(
        f"# Notes\n\n{story(draw)}\n\n```\nthe large vessel\n```\n\n{story(draw)}\n"
    )
    (folder / "sub" / "page.html").write_text(
        f"<p title='the large vessel'>{story(draw)}</p><p>{story(draw)}</p>"
    )
    (folder / "paper.tex").write_text(f"\\begin{{document}}{story(draw)} \\cite{{large}}\\end{{document}}")
    lines = [json.dumps({"id": n, "text": story(draw), "large": "large"}) for n in range(6)]
    (folder / "lines.jsonl").write_text("\n".join(lines) + "\n")
    body = "".join(f"<w:p><w:r><w:t>{story(draw)}</w:t></w:r></w:p>" for _ in range(2))
    with zipfile.ZipFile(folder / "letter.docx", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr(
            "word/document.xml", f"<w:document xmlns:w='urn:w'><w:body>{body}</w:body></w:document>"
        )
    (folder / "picture.bin").write_bytes(bytes(range(256)))
    return folder


def tree(folder: Path) -> dict[str, bytes]:
    return {f.relative_to(folder).as_posix(): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


def texts_of(folder: Path) -> list[str]:
    """Return what a thief learns from: the documents without the markup that nobody learns."""
    found = []
    for file in sorted(folder.rglob("*")):
        if file.suffix in (".txt", ".md", ".html", ".tex", ".jsonl", ".docx"):
            for one in open_texts(file.name, file.read_bytes()).texts:
                found.append(re.sub(r"<[^>]*>|\r\n|\\r\\n", " ", one.raw))
    return found
