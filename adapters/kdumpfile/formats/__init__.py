"""What dump files say about themselves, read without libkdumpfile."""
