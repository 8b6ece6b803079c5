"""What is known of the Linux kernel: how its structures are found and walked.

The server and the gdb script both load this package, so it is written in the syntax of
Python 3.6, which the gdb of an enterprise distribution may have, and uses the standard
library alone.
"""
