"""libkdumpfile's and libaddrxlat's C interface, as far as it is used here.

Source: the headers kdumpfile.h and addrxlat.h of libkdumpfile 0.5.1; the
declarations below are the same up to `libkdumpfile.so.12`. Structure layouts are
the C compiler's natural ones.
"""

from __future__ import annotations

import ctypes
import enum
from typing import Any


class Status(enum.IntEnum):
    """kdump_status."""

    OK = 0
    SYSTEM = 1
    NOTIMPL = 2
    NODATA = 3
    CORRUPT = 4
    INVALID = 5
    NOKEY = 6
    EOF = 7
    BUSY = 8
    ADDRXLAT = 9


class TranslationStatus(enum.IntEnum):
    """addrxlat_status; negative values are kdump_status negated."""

    OK = 0
    NOTIMPL = 1
    NOTPRESENT = 2
    INVALID = 3
    NOMEM = 4
    NODATA = 5
    NOMETH = 6


class AttributeType(enum.IntEnum):
    """kdump_attr_type_t."""

    NIL = 0
    DIRECTORY = 1
    NUMBER = 2
    ADDRESS = 3
    STRING = 4
    BITMAP = 5
    BLOB = 6


# kdump_addrspace_t
KPHYSADDR = 0
MACHPHYSADDR = 1
KVADDR = 2

# kdump_mmap_policy_t
MMAP_NEVER = 0

# addrxlat_kind_t
KIND_NONE = 0
KIND_PAGE_TABLE = 3

# addrxlat_sys_meth_t: the kernel's own page table
METHOD_PAGE_TABLE = 0


class AttributeValue(ctypes.Union):
    """kdump_attr_value_t; a string is kept as a pointer so that no other member is followed."""

    _fields_ = (
        ("number", ctypes.c_uint64),
        ("address", ctypes.c_uint64),
        ("string", ctypes.c_char_p),
        ("bitmap", ctypes.c_void_p),
        ("blob", ctypes.c_void_p),
    )


class Attribute(ctypes.Structure):
    """kdump_attr_t."""

    _fields_ = (("type", ctypes.c_int), ("val", AttributeValue))


class AttributeReference(ctypes.Structure):
    """kdump_attr_ref_t."""

    _fields_ = (("_ptr", ctypes.c_void_p),)


class AttributeIterator(ctypes.Structure):
    """kdump_attr_iter_t."""

    _fields_ = (("key", ctypes.c_char_p), ("pos", AttributeReference))


class FullAddress(ctypes.Structure):
    """addrxlat_fulladdr_t."""

    _fields_ = (("addr", ctypes.c_uint64), ("as_", ctypes.c_int))


class PagingForm(ctypes.Structure):
    """addrxlat_paging_form_t: entry format and the bit widths of the levels, lowest first."""

    _fields_ = (
        ("pte_format", ctypes.c_int),
        ("nfields", ctypes.c_ushort),
        ("fieldsz", ctypes.c_ushort * 8),
    )


class PageTableParameters(ctypes.Structure):
    """addrxlat_param_pgt_t, the largest member of addrxlat_param_t."""

    _fields_ = (("root", FullAddress), ("pte_mask", ctypes.c_uint64), ("pf", PagingForm))


class Method(ctypes.Structure):
    """addrxlat_meth_t of the kind that walks page tables."""

    _fields_ = (
        ("kind", ctypes.c_int),
        ("target_as", ctypes.c_int),
        ("pgt", PageTableParameters),
    )


class Step(ctypes.Structure):
    """addrxlat_step_t."""

    _fields_ = (
        ("ctx", ctypes.c_void_p),
        ("sys", ctypes.c_void_p),
        ("meth", ctypes.c_void_p),
        ("remain", ctypes.c_ushort),
        ("elemsz", ctypes.c_uint),
        ("base", FullAddress),
        ("raw", ctypes.c_uint64),
        ("idx", ctypes.c_uint64 * 9),
    )


_CONTEXT = ctypes.c_void_p
_ITERATOR = ctypes.POINTER(AttributeIterator)
_ATTRIBUTE = ctypes.POINTER(Attribute)
_SIZE = ctypes.POINTER(ctypes.c_size_t)
_POINTER = ctypes.POINTER(ctypes.c_void_p)

# name -> (result, arguments)
_SIGNATURES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "kdump_new": (_CONTEXT, ()),
    "kdump_free": (None, (_CONTEXT,)),
    "kdump_clone": (_CONTEXT, (_CONTEXT, ctypes.c_ulong)),
    "kdump_open_fdset": (
        ctypes.c_int,
        (_CONTEXT, ctypes.c_uint, ctypes.POINTER(ctypes.c_int)),
    ),
    "kdump_get_err": (ctypes.c_char_p, (_CONTEXT,)),
    "kdump_clear_err": (None, (_CONTEXT,)),
    "kdump_get_attr": (ctypes.c_int, (_CONTEXT, ctypes.c_char_p, _ATTRIBUTE)),
    "kdump_set_attr": (ctypes.c_int, (_CONTEXT, ctypes.c_char_p, _ATTRIBUTE)),
    "kdump_attr_iter_start": (ctypes.c_int, (_CONTEXT, ctypes.c_char_p, _ITERATOR)),
    "kdump_attr_iter_next": (ctypes.c_int, (_CONTEXT, _ITERATOR)),
    "kdump_attr_iter_end": (None, (_CONTEXT, _ITERATOR)),
    "kdump_attr_ref_get": (
        ctypes.c_int,
        (_CONTEXT, ctypes.POINTER(AttributeReference), _ATTRIBUTE),
    ),
    "kdump_read": (
        ctypes.c_int,
        (_CONTEXT, ctypes.c_int, ctypes.c_uint64, ctypes.c_void_p, _SIZE),
    ),
    "kdump_vmcoreinfo_raw": (ctypes.c_int, (_CONTEXT, _POINTER)),
    "kdump_get_addrxlat": (ctypes.c_int, (_CONTEXT, _POINTER, _POINTER)),
    "kdump_blob_new_dup": (ctypes.c_void_p, (ctypes.c_char_p, ctypes.c_size_t)),
    "addrxlat_ctx_decref": (ctypes.c_ulong, (ctypes.c_void_p,)),
    "addrxlat_sys_decref": (ctypes.c_ulong, (ctypes.c_void_p,)),
    "addrxlat_sys_get_meth": (ctypes.c_void_p, (ctypes.c_void_p, ctypes.c_int)),
    "addrxlat_ctx_get_err": (ctypes.c_char_p, (ctypes.c_void_p,)),
    "addrxlat_ctx_clear_err": (None, (ctypes.c_void_p,)),
    "addrxlat_pte_format": (ctypes.c_int, (ctypes.c_char_p,)),
    "addrxlat_walk": (ctypes.c_int, (ctypes.POINTER(Step),)),
    "addrxlat_launch": (ctypes.c_int, (ctypes.POINTER(Step), ctypes.c_uint64)),
    "addrxlat_step": (ctypes.c_int, (ctypes.POINTER(Step),)),
    "addrxlat_fulladdr_conv": (
        ctypes.c_int,
        (ctypes.POINTER(FullAddress), ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p),
    ),
}


class Bindings:
    """The C functions by their own names, with argument and result types declared."""

    def __init__(self, cdll: ctypes.CDLL) -> None:
        """Look all functions up; AttributeError names one that the library lacks."""
        self._cdll = cdll
        self._functions: dict[str, Any] = {}
        for name, (result, arguments) in _SIGNATURES.items():
            function = getattr(cdll, name)
            function.restype = result
            function.argtypes = arguments
            self._functions[name] = function
        free = ctypes.CDLL(None).free
        free.restype = None
        free.argtypes = (ctypes.c_void_p,)
        self._functions["free"] = free

    def __getattr__(self, name: str) -> Any:
        try:
            return self._functions[name]
        except KeyError:
            raise AttributeError(name) from None
