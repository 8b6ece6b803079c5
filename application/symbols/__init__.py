"""The symbol image: an ELF file for debuggers that is made from a dump alone."""
