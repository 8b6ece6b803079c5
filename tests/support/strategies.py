"""Hypothesis strategies for values of the domain."""

from __future__ import annotations

from hypothesis import strategies as st

from kdump_gdbserver.domain.arch import ARCHITECTURES, COMPAT
from kdump_gdbserver.domain.arch.model import RegisterLayout


def layouts() -> st.SearchStrategy[RegisterLayout]:
    """Layouts of every architecture, with and without optional features."""
    return st.sampled_from(
        [
            arch.layout(*chosen)
            for arch in (*ARCHITECTURES.values(), *COMPAT.values())
            for chosen in ((), tuple(arch.optional))
        ]
    )


@st.composite
def register_values(draw: st.DrawFn, layout: RegisterLayout) -> dict[str, int]:
    """Values for some registers of a layout."""
    chosen = draw(st.sets(st.sampled_from(layout.slots), max_size=12))
    return {
        slot.register.name: draw(st.integers(0, (1 << slot.register.bits) - 1)) for slot in chosen
    }


def splits(data: bytes) -> st.SearchStrategy[list[bytes]]:
    """Ways to cut bytes into pieces: whole, one by one, or anyhow."""
    cuts = st.sets(st.integers(0, len(data)), max_size=12).map(sorted)
    return st.one_of(
        st.just([data]),
        st.just([data[i : i + 1] for i in range(len(data))]),
        cuts.map(lambda at: [data[a:b] for a, b in zip([0, *at], [*at, len(data)], strict=True)]),
    )
