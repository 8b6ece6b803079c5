"""vmlinux files and images of the kernel's symbols: reading, moving and standing in for them."""
