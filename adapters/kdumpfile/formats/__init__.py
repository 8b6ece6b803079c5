"""What dump files say of themselves, read without libkdumpfile."""
