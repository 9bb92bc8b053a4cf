/* XDP: the FNV-1a hash of the first 34 bytes chooses the bucket in which a packet is counted. */
#include "packet_headers.h"

#define LENGTH 34
#define BUCKETS 64

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, BUCKETS);
	__type(key, __u32);
	__type(value, __u64);
} buckets SEC(".maps");

SEC("xdp")
int xdp_fnv(struct xdp_md *ctx)
{
	__u8 *octets = BEGIN(ctx);
	__u32 value = 2166136261u;

	if ((void *)(octets + LENGTH) > END(ctx))
		return XDP_DROP;
	for (int i = 0; i < LENGTH; i++)
		value = (value ^ octets[i]) * 16777619u;

	__u32 slot = value % BUCKETS;
	__u64 *count = bpf_map_lookup_elem(&buckets, &slot);

	if (count)
		__sync_fetch_and_add(count, 1);
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
