/* Files under /proc. */
#include <linux/fs.h>

static noinline ssize_t proc_reg_write(struct file *file, const char __user *buf, size_t count,
				       loff_t *ppos)
{
	struct proc_dir_entry *pde = file->private_data;
	ssize_t done = pde->proc_ops->write(file, buf, count, ppos);

	keep(file);
	return done;
}

const struct file_operations proc_reg_file_ops = {
	.write = proc_reg_write,
};

struct file sysrq_trigger_file = {
	.f_op = &proc_reg_file_ops,
	.private_data = &sysrq_trigger_entry,
};
