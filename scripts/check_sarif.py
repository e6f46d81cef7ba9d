"""Validate SARIF files against the official schema, which is not part of flyroom: it has terms of its own.

    python scripts/check_sarif.py SCHEMA FILE.sarif [FILE.sarif ...]

`SCHEMA` is `sarif-2.1/schema/sarif-schema-2.1.0.json` of the specification's repository (oasis-tcs/sarif-spec). Formats
(`uri`, `date-time`) are checked too where `rfc3987` or `rfc3986-validator` is installed. Says how many files hold, and
each fault with its place. Ends with 1 where there is one.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from jsonschema import FormatChecker
from jsonschema.validators import validator_for


def list_faults(schema: dict[str, Any], document: Any) -> list[str]:
    """The place and the reason of each fault."""
    validator = validator_for(schema)(schema, format_checker=FormatChecker())
    return [f"{'/'.join(map(str, e.absolute_path))}: {e.message[:200]}" for e in validator.iter_errors(document)]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("schema", type=Path)
    parser.add_argument("files", type=Path, nargs="+")
    options = parser.parse_args()
    schema = json.loads(options.schema.read_text(encoding="utf-8"))
    faults = {path: list_faults(schema, json.loads(path.read_text(encoding="utf-8"))) for path in options.files}
    sys.stdout.writelines(f"{path}: {fault}\n" for path, lines in faults.items() for fault in lines)
    sys.stdout.write(f"{sum(not lines for lines in faults.values())} of {len(faults)} files hold\n")
    return int(any(faults.values()))


if __name__ == "__main__":
    sys.exit(main())
