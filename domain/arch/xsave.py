"""x87, SSE and AVX registers as the kernel saved them."""

from typing import Callable, Dict, List

XSAVE_HEADER = 512  # where the XSAVE header begins, after the FXSAVE area
XSAVE_AVX = 576  # where the high halves of ymm0 to ymm15 are, compacted or not
XSAVE_AVX_END = 832
X87, SSE, AVX = 1, 2, 4  # bits of XCR0 and XSTATE_BV
MXCSR_INIT = 0x1F80


def xsave_registers(data: bytes, features: int) -> Dict[str, int]:
    """gdb's x87, SSE and AVX registers from an XSAVE area (Intel SDM volume 1, chapter 13).

    `features` says which components the kernel saves (0: an FXSAVE area, no header). One that the
    header leaves out was in its initial state, which is known.
    """

    def field(at: int, size: int) -> int:
        return int.from_bytes(data[at : at + size], "little")

    present, compacted = X87 | SSE, False
    if features:
        present = field(XSAVE_HEADER, 8)
        compacted = bool(field(XSAVE_HEADER + 8, 8) >> 63)
    registers = x87_registers(field) if present & X87 else x87_initial()
    sse = present & SSE
    for n in range(16):
        registers["xmm%d" % n] = field(160 + 16 * n, 16) if sse else 0
    registers["mxcsr"] = field(24, 4) if sse or not compacted else MXCSR_INIT
    if features & AVX:
        for n in range(16):
            at = XSAVE_AVX + 16 * n
            registers["ymm%dh" % n] = field(at, 16) if present & AVX else 0
    return registers


def x87_registers(field: Callable[[int, int], int]) -> Dict[str, int]:
    """The x87 registers of an FXSAVE area (Intel SDM volume 1, "FXSAVE Area")."""
    status = field(2, 2)
    st = [field(32 + 16 * n, 10) for n in range(8)]
    registers = {"st%d" % n: value for n, value in enumerate(st)}
    registers.update(
        fctrl=field(0, 2),
        fstat=status,
        ftag=x87_tags(field(4, 1), status >> 11 & 7, st),
        fop=field(6, 2) & 0x7FF,
        fioff=field(8, 4),
        fiseg=field(12, 2),
        fooff=field(16, 4),
        foseg=field(20, 2),
    )
    return registers


def x87_initial() -> Dict[str, int]:
    """The x87 registers after FNINIT."""
    registers = {"st%d" % n: 0 for n in range(8)}
    registers.update(fctrl=0x37F, fstat=0, ftag=0xFFFF, fop=0, fioff=0, fiseg=0, fooff=0, foseg=0)
    return registers


def x87_tags(valid: int, top: int, st: List[int]) -> int:
    """The full tag word: two bits a register, where FXSAVE keeps one (in use or not).

    Bit and tag count physical registers; st(i) is physical register top + i, modulo 8.
    """
    word = 0
    for physical in range(8):
        tag = 3  # empty
        if valid >> physical & 1:
            value = st[(physical - top) % 8]
            exponent, mantissa = value >> 64 & 0x7FFF, value % 2**64
            if not exponent and not mantissa:
                tag = 1  # zero
            else:
                tag = 0 if 0 < exponent < 0x7FFF and mantissa >> 63 else 2  # valid or special
        word |= tag << 2 * physical
    return word
