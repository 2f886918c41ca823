"""Random numbers of elements as source text for any target: functions of a counter and a key."""

from __future__ import annotations

__all__ = ["philox"]

#: Philox4x32-7: four 32-bit words out of a counter and a key. J. K. Salmon, M. A. Moraes, R. O.
#: Dror and D. E. Shaw, Parallel random numbers: as easy as 1, 2, 3, SC 2011. Seven rounds pass
#: all tests of BigCrush. The authors recommend ten for a margin, for which dropout would pay with
#: 1.3 times the time (1 M float32, AMD Zen 3).
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 7


def philox() -> str:
    """Source: the words w0 to w3 of the counter ``counter`` under the key (k0, k1)."""
    lines = ["w0 = uint32(counter)", "w1 = uint32(counter >> uint64(32))"]
    lines += ["w2 = uint32(0)", "w3 = uint32(0)"]
    for r in range(_ROUNDS):
        keys = [f"uint32(k{i} + uint32({r * _WEYL[i] & 0xFFFFFFFF}))" for i in range(2)]
        lines += [
            f"product0 = uint64({_MULTIPLIERS[0]}) * uint64(w0)",
            f"product1 = uint64({_MULTIPLIERS[1]}) * uint64(w2)",
            f"w0 = uint32(uint32(product1 >> uint64(32)) ^ w1 ^ {keys[0]})",
            "w1 = uint32(product1)",
            f"w2 = uint32(uint32(product0 >> uint64(32)) ^ w3 ^ {keys[1]})",
            "w3 = uint32(product0)",
        ]
    return "\n".join(lines)
