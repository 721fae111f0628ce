"""Results as JSON Lines (jsonlines.org): one object a line."""

from __future__ import annotations

import json

from motivnet.printable import escaped_json
from motivnet_engines.writers.records import Record


def jsonl_line(record: Record, *, embeddings: bool = False) -> str:
    """The record as one line with its end; what is not printable or not Unicode in it has JSON's escapes."""
    document = record.to_dict(embeddings=embeddings)
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(", ", ": "))
    return escaped_json(text) + "\n"
