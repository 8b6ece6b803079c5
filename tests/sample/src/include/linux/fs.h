/* Just enough of files for a write to /proc/sysrq-trigger. */
#ifndef _LINUX_FS_H
#define _LINUX_FS_H

#include <linux/types.h>

struct file;

struct file_operations {
	ssize_t (*write)(struct file *file, const char __user *buf, size_t count, loff_t *ppos);
};

struct proc_dir_entry {
	const struct file_operations *proc_ops;
	const char *name;
};

struct file {
	const struct file_operations *f_op;
	struct proc_dir_entry *private_data;
	loff_t f_pos;
};

extern const struct file_operations proc_reg_file_ops;
extern struct proc_dir_entry sysrq_trigger_entry;
extern struct file sysrq_trigger_file;
ssize_t vfs_write(struct file *file, const char __user *buf, size_t count, loff_t *pos);

#endif
