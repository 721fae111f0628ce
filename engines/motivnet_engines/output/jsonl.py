"""Results as JSON Lines (jsonlines.org): one object a line."""

from __future__ import annotations

import json

from motivnet_engines.output.records import Record


def jsonl_line(record: Record, *, embeddings: bool = False) -> str:
    """The record as one line with its end; a file name that is not valid Unicode has its bytes escaped."""
    document = record.to_dict(embeddings=embeddings)
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(", ", ": "))
    return text.encode("utf-8", "backslashreplace").decode() + "\n"
