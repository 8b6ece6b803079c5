"""What a crash dump is made of, in plain values: no I/O, standard library only."""
