"""Numbers to words: names, thresholds, grades and time, each in one table.

`facs` names what a face does, `scales` grades it, `timing` says when; `voices` has the limits and
words of what is heard; `face` and `prosody` make cues of them.
"""

from textualize.wording.facs import AU_NAMES
from textualize.wording.scales import AU_SCALES, REGISTERS, Register

__all__ = ["AU_NAMES", "AU_SCALES", "REGISTERS", "Register"]
