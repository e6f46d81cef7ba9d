"""What marks an organism that leaves its room, and how one is recognised that comes back: words in every file, a
signature over all of them, and a fingerprint of the change that survives a merge.
"""

from flyroom.marks.fingerprint import Fingerprint, Match, compare
from flyroom.marks.manifest import Signature, sign, verify
from flyroom.marks.mark import CANARY, SUSPECT, WARNING, Mark
from flyroom.marks.page import write_page
from flyroom.marks.register import Register
from flyroom.marks.scan import Findings, scan

__all__ = [
    "CANARY",
    "SUSPECT",
    "WARNING",
    "Findings",
    "Fingerprint",
    "Mark",
    "Match",
    "Register",
    "Signature",
    "compare",
    "scan",
    "sign",
    "verify",
    "write_page",
]
