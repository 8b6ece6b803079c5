/* The write system call below the entry code. */
#include <linux/fs.h>
#include <linux/kernel.h>
#include <linux/sched.h>

noinline ssize_t vfs_write(struct file *file, const char __user *buf, size_t count, loff_t *pos)
{
	ssize_t done = file->f_op->write(file, buf, count, pos);

	keep(count);
	return done;
}

noinline ssize_t ksys_write(unsigned int fd, const char __user *buf, size_t count)
{
	struct file *file = fd < 3 ? current->files[fd] : NULL;
	loff_t pos;
	ssize_t done;

	if (!file)
		return -9;
	pos = file->f_pos;
	done = vfs_write(file, buf, count, &pos);
	file->f_pos = pos;
	return done;
}
