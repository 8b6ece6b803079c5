/* Who we are; RELEASE and VERSION come from the build script. */
#include <linux/utsname.h>

const char linux_banner[] = "Linux version " RELEASE " (builder@toy) (gcc, GNU ld) " VERSION "\n";

struct uts_namespace init_uts_ns = {
	.name = {
		.sysname = "Linux",
		.nodename = "toy",
		.release = RELEASE,
		.version = VERSION,
		.machine = "x86_64",
		.domainname = "(none)",
	},
	.ns_count = 1,
};
