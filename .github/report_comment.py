"""Turns the artifact of a pull request's report into the body of a comment, as JSON on standard output.

    python3 .github/report_comment.py diff.zip > comment.json

Whoever opens a pull request decides what its code writes into the artifact, so the text is not trusted: of HTML, only
the tags that `yoyak diff` writes are left, and nothing in it mentions anyone, links or loads anything. It needs nothing
but Python, since it runs where nothing of the project is installed.
"""

from __future__ import annotations

import json
import re
import sys
import zipfile

REPORT = "comment.md"
MARKER = "<!-- yoyak diff -->"
MAX_CHARS = 65_000
"""GitHub's comments hold 65,536 characters."""
TAGS = re.compile(r'</?(?:details|summary|table|tr|th|td|br|ins|del)>|<t[hd] colspan="2">')
JOINER = "\u2060"
"""Invisible: it takes the meaning of a mention or a link away."""
ACTIVE = re.compile(
    r"""
    (?<=@)(?=[\w-])                          # @person, someone@example.com
    | (?:(?<=\#)(?<!&\#)|(?<=!)|(?<=GH-))(?=\d)   # #12, !12, GH-12, but not &#36;
    | (?<=:)(?=/) | (?<=www)(?=\.) | (?<=mailto)(?=:)
    | (?<=\])(?=[(\[:])                      # [a](b), [a][b], [a]: b
    """,
    re.IGNORECASE | re.VERBOSE,
)
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def read_report(path: str) -> str:
    """Return the report in an artifact, however large that says it is."""
    with zipfile.ZipFile(path) as archive, archive.open(REPORT) as file:
        return file.read(4 * MAX_CHARS).decode("utf-8", "ignore")


def sanitise(text: str) -> str:
    """Return a text in which only Markdown's layout and the tags of a report mean anything."""
    text = CONTROL.sub("", text.replace("\r\n", "\n"))
    parts, end = [], 0
    for tag in TAGS.finditer(text):
        parts += [_escape(text[end : tag.start()]), tag[0]]
        end = tag.end()
    return "".join([*parts, _escape(text[end:])])


def _escape(text: str) -> str:
    # Character references would become what they stand for only after mentions and links were taken away.
    text = re.sub(r"&(?!(?:lt|gt|amp|quot|#x27|#36);)", "&amp;", text)
    return ACTIVE.sub(JOINER, text.replace("<", "&lt;"))


def main() -> None:
    body = f"{MARKER}\n{sanitise(read_report(sys.argv[1]))}"
    json.dump({"body": body[:MAX_CHARS]}, sys.stdout)


if __name__ == "__main__":
    main()
