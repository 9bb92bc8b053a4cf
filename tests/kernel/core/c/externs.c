#include "prelude.h"

enum libbpf_tristate { TRI_NO, TRI_YES, TRI_MODULE };

extern int LINUX_KERNEL_VERSION kconfig;
extern _Bool LINUX_HAS_SYSCALL_WRAPPER kconfig;
extern _Bool LINUX_HAS_BPF_COOKIE kconfig;
extern u64 LINUX_UNKNOWN kconfig weak;
extern _Bool CONFIG_BPF_SYSCALL kconfig;
extern enum libbpf_tristate CONFIG_BPF kconfig;
extern u64 CONFIG_NO_SUCH_OPTION kconfig weak;
extern int CONFIG_HZ kconfig;
extern char CONFIG_CC_VERSION_TEXT[12] kconfig;
extern char CONFIG_NET kconfig;

extern const void schedule ksym;
extern const void no_such_symbol ksym weak;
extern int bpf_strcmp(const char *one, const char *other) ksym weak;
extern int bpf_no_such_function(int x) ksym weak;

u64 values[16];

SEC("raw_tp/sched_switch") int externs(u64 *ctx)
{
	values[0] = LINUX_KERNEL_VERSION;
	values[1] = LINUX_HAS_SYSCALL_WRAPPER;
	values[2] = LINUX_HAS_BPF_COOKIE;
	values[3] = LINUX_UNKNOWN;
	values[4] = CONFIG_BPF_SYSCALL;
	values[5] = CONFIG_BPF;
	values[6] = CONFIG_NO_SUCH_OPTION;
	values[7] = CONFIG_HZ;
	values[8] = CONFIG_CC_VERSION_TEXT[0];
	values[9] = CONFIG_NET;
	values[10] = (u64)&schedule;
	values[11] = (u64)&no_such_symbol;
	if (bpf_no_such_function)
		values[12] = bpf_no_such_function(1);
	if (LINUX_UNKNOWN)
		values[13] = *(u64 *)0; // never loaded: frozen constants are known
	return 0;
}
