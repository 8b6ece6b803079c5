"""Declarations of the kernel's well-known variables, which BTF does not have.

They are what the kernel's own scripts for gdb, drgn's helpers and people look at. A declaration is
used where kallsyms has one such variable, BTF one such type, and the variable has the type's
size at least: kallsyms tells how far it is to the next symbol.
Source: the kernel's headers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from kdump_gdbserver.domain.symbols.btf import Btf, Kind
from kdump_gdbserver.domain.symbols.writers.dwarf_types import Variable

# One a line, as in C. [] is an array that takes all the variable's bytes.
_TABLE = """
struct task_struct init_task
struct mm_struct init_mm
struct list_head modules
struct pid_namespace init_pid_ns
struct uts_namespace init_uts_ns
struct user_namespace init_user_ns
struct ipc_namespace init_ipc_ns
struct cgroup_namespace init_cgroup_ns
struct nsproxy init_nsproxy
struct net init_net
struct list_head net_namespace_list
struct cred init_cred
struct fs_struct init_fs
struct files_struct init_files
struct signal_struct init_signals
struct task_group root_task_group
struct list_head task_groups
struct root_domain def_root_domain
struct list_head super_blocks
struct list_head slab_caches
struct list_head vmap_area_list
struct list_head pgd_list
struct list_head tty_drivers
struct list_head cgroup_roots
struct list_head workqueues
struct list_head ftrace_ops_list
struct list_head clocksource_list
struct list_head gpd_list
struct list_head crypto_alg_list
struct list_head pci_root_buses
struct list_head all_bdi_list
struct list_head bdi_list
struct list_head pernet_list
struct list_head mce_notifier_chain
struct hlist_head clk_root_list
struct hlist_head clk_orphan_list
struct hlist_head panic_notifier_list
struct cgroup_root cgrp_dfl_root
struct kset * bus_kset
struct kset * class_kset
struct kset * module_kset
struct kset * devices_kset
struct kset * system_kset
struct kobject * kernel_kobj
struct kobject * block_depr
struct class block_class
struct class tty_class
struct bus_type pci_bus_type
struct bus_type cpu_subsys
struct bus_type platform_bus_type
struct resource iomem_resource
struct resource ioport_resource
struct kmem_cache * kmem_cache
struct kmem_cache * task_struct_cachep
struct kmem_cache * dentry_cache
struct kmem_cache * files_cachep
struct cpumask __cpu_possible_mask
struct cpumask __cpu_online_mask
struct cpumask __cpu_present_mask
struct cpumask __cpu_active_mask
struct cpumask __cpu_dying_mask
atomic_t __num_online_cpus
unsigned int nr_cpu_ids
unsigned int nr_node_ids
unsigned long __per_cpu_offset[]
struct pglist_data contig_page_data
struct pglist_data * node_data[]
unsigned long max_pfn
unsigned long max_low_pfn
unsigned long min_low_pfn
unsigned long max_mapnr
unsigned long highest_memmap_pfn
unsigned long empty_zero_page[]
atomic_long_t _totalram_pages
atomic_long_t vm_zone_stat[]
atomic_long_t vm_node_stat[]
atomic_long_t vm_numa_event[]
unsigned long totalreserve_pages
unsigned long page_offset_base
unsigned long vmalloc_base
unsigned long vmemmap_base
unsigned long phys_base
unsigned long kimage_voffset
unsigned long memstart_addr
unsigned long sme_me_mask
struct mem_section * * mem_section
struct vm_struct * vmlist
struct swap_info_struct * swap_info[]
struct rb_root swap_extent_root
atomic_long_t nr_swap_pages
long total_swap_pages
char linux_banner[]
char linux_proc_banner[]
char * saved_command_line
char boot_command_line[]
unsigned long jiffies
u64 jiffies_64
unsigned long loops_per_jiffy
unsigned int tsc_khz
unsigned int cpu_khz
struct timekeeper timekeeper
struct clocksource clocksource_jiffies
struct clocksource clocksource_tsc
struct tick_device tick_broadcast_device
ktime_t tick_next_period
int tick_do_timer_cpu
struct printk_ringbuffer * prb
struct printk_ringbuffer printk_rb_static
struct printk_ringbuffer printk_rb_dynamic
char * log_buf
u32 log_buf_len
struct console * console_drivers
struct hlist_head console_list
int console_printk[]
int oops_in_progress
atomic_t panic_cpu
int panic_timeout
int panic_on_oops
int crashing_cpu
unsigned long tainted_mask
enum system_states system_state
struct kimage * kexec_image
struct kimage * kexec_crash_image
struct resource crashk_res
struct resource crashk_low_res
rwlock_t tasklist_lock
struct file_system_type * file_systems
struct rw_semaphore namespace_sem
struct hlist_head * mount_hashtable
struct hlist_bl_head * dentry_hashtable
struct hlist_head * inode_hashtable
struct dentry_stat_t dentry_stat
struct files_stat_struct files_stat
int nr_threads
unsigned long total_forks
int max_threads
int pid_max
struct idr net_generic_ids
struct workqueue_struct * system_wq
struct workqueue_struct * system_highpri_wq
struct workqueue_struct * system_long_wq
struct workqueue_struct * system_unbound_wq
struct rcu_state rcu_state
struct irq_domain * irq_default_domain
int nr_irqs
struct radix_tree_root irq_desc_tree
struct maple_tree sparse_irqs
struct irq_desc irq_desc[]
struct softirq_action softirq_vec[]
atomic_t irq_err_count
unsigned long irq_err_count
struct cpuinfo_x86 boot_cpu_data
struct cpuinfo_x86 cpu_data[]
struct boot_params boot_params
struct desc_struct idt_table[]
pgd_t swapper_pg_dir[]
pgd_t init_top_pgt[]
struct device_node * of_root
struct ftrace_ops * ftrace_ops_list
struct trace_array global_trace
struct security_hook_heads security_hook_heads
int selinux_enabled_boot
struct audit_context * audit_context
struct proc_dir_entry proc_root
struct vfsmount * sysfs_mnt
struct kernfs_root * sysfs_root
struct uts_namespace * init_uts
struct neigh_table arp_tbl
struct neigh_table nd_tbl
struct inet_hashinfo tcp_hashinfo
struct udp_table udp_table
struct mutex text_mutex
struct mutex module_mutex
struct mutex cgroup_mutex
struct mutex pernet_ops_rwsem
struct rw_semaphore pernet_ops_rwsem
struct list_head ptype_all
struct latch_tree_root mod_tree
struct vmap_area * vmap_area_root
struct rb_root vmap_area_root
struct rb_root free_vmap_area_root
struct bpf_map_ops array_map_ops
struct idr prog_idr
struct idr map_idr
struct idr btf_idr
struct idr link_idr
struct shrinker * shrinker_idr
struct list_head shrinker_list
"""
_KEYWORDS = {
    "struct": (Kind.STRUCT,), "union": (Kind.UNION,), "enum": (Kind.ENUM,),
}  # fmt: skip
# As C and BTF spell them.
_INTEGERS = {
    "unsigned long": "long unsigned int", "long": "long int", "unsigned int": "unsigned int",
}  # fmt: skip


class _Declaration:
    """One line of the table, taken apart."""

    def __init__(self, line: str) -> None:
        words = line.split()
        name = words.pop()
        self.is_array = name.endswith("[]")
        self.name = name.removesuffix("[]")
        self.pointers = words.count("*")
        self.type = " ".join(word for word in words if word != "*")


def _declarations() -> Iterator[_Declaration]:
    return map(_Declaration, _TABLE.strip().split("\n"))


# The symbols that are asked for here.
DECLARED = frozenset(each.name for each in _declarations())


def declared_variables(btf: Btf, symbols: Mapping[str, tuple[int, int]]) -> Iterator[Variable]:
    """Yield the variables of the table that are known to be of their type.

    `symbols` are the addresses and sizes of variables that there is one of.
    """
    for each in _declarations():
        if each.name not in symbols or each.pointers > 1:
            continue
        address, room = symbols[each.name]
        number = _type(btf, each.type)
        if number is None:
            continue
        try:
            size = 8 if each.pointers else btf.size(number)
        except ValueError:
            continue
        if size and size <= room:
            count = room // size if each.is_array else None
            yield Variable(each.name, address, number, bool(each.pointers), count)


def percpu_variables(
    btf: Btf, symbols: Mapping[str, tuple[int, int]], start: int
) -> Iterator[Variable]:
    """Yield the variables that BTF has: those of each CPU, where kallsyms has them, too.

    `start` is where the per-CPU area is linked.
    """
    for section in (number for number in btf.numbers() if btf[number].kind is Kind.DATASEC):
        for number, offset, size in btf.variables(section):
            try:
                variable = btf[number]
            except ValueError:
                continue
            address, room = symbols.get(variable.name, (None, 0))
            if variable.kind is Kind.VAR and address == start + offset and size <= room:
                yield Variable(variable.name, address, variable.value)


def _type(btf: Btf, name: str) -> int | None:
    """Return the number of the one type of that name."""
    keyword, _, rest = name.partition(" ")
    if keyword in _KEYWORDS:
        found = btf.find(rest, *_KEYWORDS[keyword])
    else:
        found = btf.find(_INTEGERS.get(name, name), Kind.INT, Kind.TYPEDEF)
    return found[0] if len(found) == 1 else None
