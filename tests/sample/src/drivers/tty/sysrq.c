/* The magic SysRq key, as far as crashing goes. */
#include <linux/fs.h>
#include <linux/kernel.h>

struct sysrq_key_op {
	void (*handler)(int key);
	const char *help_msg;
	const char *action_msg;
};

static noinline void sysrq_handle_crash(int key)
{
	(void)key;
	panic("sysrq triggered crash\n");
}

static const struct sysrq_key_op sysrq_crash_op = {
	.handler = sysrq_handle_crash,
	.help_msg = "crash(c)",
	.action_msg = "Trigger a crash",
};

static const struct sysrq_key_op *const sysrq_key_table[26] = {
	['c' - 'a'] = &sysrq_crash_op,
};

noinline void __handle_sysrq(int key, bool check_mask)
{
	const struct sysrq_key_op *op = NULL;

	if (key >= 'a' && key <= 'z')
		op = sysrq_key_table[key - 'a'];
	if (op && !opaque(check_mask))
		op->handler(key);
	else
		pr_emerg("HELP : crash(c)\n");
}

static noinline ssize_t write_sysrq_trigger(struct file *file, const char __user *buf,
					    size_t count, loff_t *ppos)
{
	(void)file;
	if (count) {
		char c = *(volatile const char *)buf;

		__handle_sysrq(c, false);
	}
	*ppos += count;
	return count;
}

static const struct file_operations sysrq_trigger_proc_ops = {
	.write = write_sysrq_trigger,
};

struct proc_dir_entry sysrq_trigger_entry = {
	.proc_ops = &sysrq_trigger_proc_ops,
	.name = "sysrq-trigger",
};
