"""Memory of an open dump: physical pages, page tables, virtual addresses."""
