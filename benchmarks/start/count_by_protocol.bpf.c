/* Socket filter: counts IPv4 packets by protocol and keeps every packet. For benchmarks.startup. */
#include <linux/bpf.h>

#define SEC(name) __attribute__((section(name), used))

static void *(*const bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;
static long (*const bpf_skb_load_bytes)(const void *skb, __u32 offset, void *to, __u32 length) = (void *)26;

struct {
	int (*type)[BPF_MAP_TYPE_ARRAY];
	int (*max_entries)[256];
	__u32 *key;
	__u64 *value;
} packets SEC(".maps");

SEC("socket")
int count_by_protocol(struct __sk_buff *skb)
{
	__u16 kind;
	__u8 protocol;

	if (bpf_skb_load_bytes(skb, 12, &kind, sizeof(kind)) < 0)
		return skb->len;
	if (kind == __builtin_bswap16(0x0800)) {
		if (bpf_skb_load_bytes(skb, 14 + 9, &protocol, sizeof(protocol)) < 0)
			return skb->len;
		__u32 slot = protocol;
		__u64 *count = bpf_map_lookup_elem(&packets, &slot);
		if (count)
			__sync_fetch_and_add(count, 1);
	}
	return skb->len;
}

char LICENSE[] SEC("license") = "GPL";
