/* A program for libbpf on a USDT probe, to be attached by our loader. */
#include <stdbool.h>
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <bpf/usdt.bpf.h>

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __s64);
} seen SEC(".maps");

static void note(__u32 key, __s64 value)
{
	bpf_map_update_elem(&seen, &key, &value, BPF_ANY);
}

SEC("usdt/libshop:shop:sale")
int BPF_USDT(sold, int small, long large, char constant)
{
	note(0, small);
	note(1, large);
	note(2, constant);
	note(3, bpf_usdt_cookie(ctx));
	return 0;
}

char _license[] SEC("license") = "GPL";
